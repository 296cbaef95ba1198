// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

import CCallFaults
import TestPrograms
import Testing
import Torsion

/// What the two ends of a file's way are told when it breaks.
@Suite struct FileBreakTests {
    private static let backends = testedBackends.map(\.name)

    /// Any file that is there, and larger than what a socket takes at once.
    private static let program = "/proc/self/exe"

    /// Sends the file, and notes how it ends.
    private final class Sender: StreamProtocol {
        var result: Result<Int, any Error>?
        var loss: ConnectionLoss?

        func connectionMade(_ transport: any StreamTransport) {
            FileProducer(path: program, on: transport.reactor).pipe(to: transport)
                .addBoth { [self] in result = $0 }
        }

        func dataReceived(_ bytes: RawSpan, from transport: any StreamTransport) {}

        func connectionLost(_ why: ConnectionLoss, from transport: any StreamTransport) {
            loss = why
            transport.reactor.stop(within: .zero)
        }
    }

    /// Resets its next client, in the middle of a call that sends to it.
    private final class Breaker {
        let listener: Socket

        init() throws {
            listener = try Socket.bound()
            try listener.listen()
        }

        func breakInSendfile() {
            torsion_break_in_sendfile(
                { context in
                    // What the test below passes, which it keeps.
                    let breaker = Unmanaged<Breaker>.fromOpaque(context!).takeUnretainedValue()
                    try? breaker.listener.accept().reset()
                }, Unmanaged.passUnretained(self).toOpaque())
        }
    }

    // S5
    @Test(arguments: backends)
    func `a reset in the middle of a call that sends a file is told as a reset`(
        name: String
    ) throws {
        let breaker = try Breaker()
        breaker.breakInSendfile()
        let peer = SocketAddress.ipv4(.loopback, port: breaker.listener.port)
        let backend = try BackendChoice.named(name, among: testedBackends)
        nonisolated(unsafe) let sender = Sender()
        try Reactor.run(backend: backend, signals: .ignore) { reactor in
            reactor.callLater(.seconds(20)) { reactor.stop(within: .zero) }
            ClientEndpoint.address(peer).connect(on: reactor) { sender }
                .whenFailed { Issue.record("\($0)") }
        }
        let error = IOError(
            .write, function: "sendfile", code: .connectionReset, subject: "\(peer)")
        #expect(sender.loss == .failed(error))
        guard case .failure(let failure)? = sender.result else { Issue.record("sent"); return }
        let broken = failure as? PipeBroken
        #expect(broken?.destination == peer && broken?.cause == .failed(error))
        #expect("\(failure)".contains("\(peer)") && "\(failure)".contains("ECONNRESET"))
    }

    /// Takes what comes to where it cannot be kept.
    private final class Keeper: StreamProtocol {
        private let file: FileConsumer

        init(_ file: FileConsumer) { self.file = file }

        func connectionMade(_ transport: any StreamTransport) {
            transport.pipe(to: file).whenFailed { _ in }
        }

        func dataReceived(_ bytes: RawSpan, from transport: any StreamTransport) {}
    }

    /// Sends a little, and waits to hear that it arrived.
    private final class Trusting: StreamProtocol {
        var loss: ConnectionLoss?

        func connectionMade(_ transport: any StreamTransport) { transport.write("all there is") }

        func dataReceived(_ bytes: RawSpan, from transport: any StreamTransport) {}

        func connectionLost(_ why: ConnectionLoss, from transport: any StreamTransport) {
            loss = why
            transport.reactor.stop(within: .zero)
        }
    }

    // S5: an end in peace would say that all was kept
    @Test(arguments: backends)
    func `a sender hears a reset when what it sent cannot be kept`(name: String) throws {
        let backend = try BackendChoice.named(name, among: testedBackends)
        nonisolated(unsafe) let sender = Trusting()
        try Reactor.run(backend: backend, signals: .ignore) { reactor in
            reactor.callLater(.seconds(20)) { reactor.stop(within: .zero) }
            let file = FileConsumer(path: "/dev/full", on: reactor)
            file.written.whenFailed { _ in }
            let port = try reactor.listen(on: .ipv4(.loopback, port: 0)) { _ in Keeper(file) }
            ClientEndpoint.address(port.localAddress).connect(on: reactor) { sender }
                .whenFailed { Issue.record("\($0)") }
        }
        guard case .failed(let error)? = sender.loss else {
            Issue.record("\(String(describing: sender.loss))")
            return
        }
        #expect(error.code == .connectionReset)
    }
}
