// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

import TestPrograms
import Testing
import Torsion

/// What a program says when it cannot do what it was asked for.
///
/// That is: what happened, to which address, and what is allowed. The caller's mistakes, which trap, are in Tests/Compile/traps.
@Suite struct SmallTalkTests {
    private func complaint(of arguments: [String], environment: [String] = []) throws -> String {
        let program = try Program("Echo", arguments, environment: environment)
        let text = program.readErrors()
        #expect(program.wait() != 0)
        return text
    }

    @Test func `a port in use is named, and how to find another`() throws {
        let other = try Socket.bound()
        try other.listen()
        let text = try complaint(of: ["tcp:\(other.port):interface=127.0.0.1"])
        let sentence =
            "cannot listen on 127.0.0.1:\(other.port): address already in use (EADDRINUSE);"
            + " take another port, or port 0 for one that is free"
        #expect(text.contains(sentence), "\(text)")
    }

    @Test func `a privileged port says which are not`() {
        let error = IOError(
            .listen, function: "bind", code: .accessDenied,
            subject: SocketAddress.ipv4(.any, port: 80))
        let sentence =
            "cannot listen on 0.0.0.0:80: permission denied (EACCES);"
            + " take a port from 1024 on, or run with the right to bind it"
        #expect("\(error)" == sentence)
    }

    @Test func `a path in use gets no advice about ports`() {
        let error = IOError(
            .listen, function: "bind", code: .addressInUse,
            subject: SocketAddress.unix(.path("/run/echo")))
        #expect(
            "\(error)" == "cannot listen on unix:/run/echo: address already in use (EADDRINUSE)")
    }

    @Test func `an unknown type of endpoint lists those that there are`() throws {
        let text = try complaint(of: ["tpc:8007"])
        let sentence = "unknown endpoint type 'tpc': allowed are tcp, tcp6, unix, stdio"
        #expect(text.contains(sentence), "\(text)")
    }

    @Test func `a missing backend lists those that are linked, and who asked`() throws {
        let text = try complaint(of: [], environment: ["TORSION_BACKEND=kqueue"])
        let sentence = "unknown backend 'kqueue': this program links libuv, epoll"
        #expect(text.contains(sentence), "\(text)")
    }

    @Test(arguments: ["libuv", "epoll"])
    func `a closed port is named, and so is a peer that breaks off`(name: String) throws {
        let backend = try BackendChoice.named(name, among: BackendChoice.linked)
        let listener = try Socket.bound()
        let place = ClientEndpoint.tcp(host: "127.0.0.1", port: listener.port)
        var refusal = ""
        try Reactor.run(backend: backend, signals: .ignore) { reactor in
            place.connect(on: reactor) { Witness() }.whenFailed { error in
                refusal = "\(error)"
                reactor.stop()
            }
        }
        let address = "127.0.0.1:\(listener.port)"
        #expect(refusal == "cannot connect to \(address): connection refused (ECONNREFUSED)")

        try listener.listen()
        let witness = Witness()
        try Reactor.run(backend: backend, signals: .ignore) { reactor in
            place.connect(on: reactor) { witness }
                .addCallback { _ in try listener.accept().reset() }
                .whenFailed { error in
                    Issue.record(error)
                    reactor.stop()
                }
        }
        #expect(
            witness.words == "cannot read from \(address): connection reset by peer (ECONNRESET)")
    }
}

/// Notes why its connection ended, and writes on as if it had not.
private final class Witness: StreamProtocol {
    var words = ""

    func dataReceived(_ bytes: RawSpan, from transport: any StreamTransport) {}

    func connectionLost(_ why: ConnectionLoss, from transport: any StreamTransport) {
        words = "\(why)"
        transport.write("nobody hears it, and nothing happens")
        transport.reactor.stop()
    }
}
