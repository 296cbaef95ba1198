// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

import CCallFaults
import Glibc
import TestPrograms
import Testing
import Torsion
import TorsionTesting

private let wave = [UInt8].pattern(count: 8 << 20)
private let hashOfWave = StreamHash(wave)

/// Writes all that it has, and its end; hashes what comes, and ends behind its peer.
private final class End: HalfCloseableProtocol {
    var hash = StreamHash()
    var byteCount = 0
    var loss: ConnectionLoss?
    var whenLost = {}
    var heard: ((any StreamTransport) -> Void)?
    private let sending: [UInt8]

    init(sending: [UInt8] = []) { self.sending = sending }

    func connectionMade(_ transport: any StreamTransport) {
        transport.write(Bytes(sending))
        if !sending.isEmpty { transport.loseWriteConnection() }
    }

    func dataReceived(_ bytes: RawSpan, from transport: any StreamTransport) {
        hash.add(bytes)
        byteCount += bytes.byteCount
        heard?(transport)
    }

    func readConnectionLost(from transport: any StreamTransport) { transport.loseConnection() }
    func writeConnectionLost(from transport: any StreamTransport) {}

    func connectionLost(_ why: ConnectionLoss, from transport: any StreamTransport) {
        loss = why
        whenLost()
        whenLost = {}
    }
}

/// A client, a proxy and a server on one reactor, and what came of it.
private final class Passage {
    let client: End
    let server = End()
    var outcome = ""
    /// Called when the reactor runs, before anything is sent, with the port of the proxy.
    var begin: (UInt16) -> Void = { _ in }
    /// Else somebody else connects.
    var clientConnects = true
    /// Who is proxied, the server unless it is another.
    var target: SocketAddress?
    private var end = {}

    init(sending bytes: [UInt8] = wave) { client = End(sending: bytes) }

    func run(on name: String) throws {
        let choice = try BackendChoice.named(name, among: testedBackends)
        nonisolated(unsafe) let passage = self
        // They lead back here, and one who never connected would keep them.
        defer { (client.whenLost, server.whenLost) = ({}, {}) }
        try Reactor.run(backend: choice, signals: .ignore) { reactor in
            try passage.start(on: reactor)
        }
    }

    private func start(on reactor: Reactor) throws {
        let limit = reactor.callLater(.seconds(60)) { reactor.stop(within: .zero) }
        end = { [unowned self] in
            guard !outcome.isEmpty, client.loss != nil || !clientConnects else { return }
            guard server.loss != nil || target != nil else { return }
            limit.cancel()
            reactor.stop(within: .zero)
        }
        (client.whenLost, server.whenLost) = ({ self.end() }, { self.end() })
        let far = try reactor.listen(on: .ipv4(.loopback, port: 0)) { _ in self.server }
        let relayed = ClientEndpoint.address(target ?? far.localAddress)
        let near = try reactor.listen(on: .ipv4(.loopback, port: 0)) { _ in
            StreamProxy(to: relayed) { result in
                self.outcome = result.outcome
                self.end()
            }
        }
        begin(near.localAddress.port ?? 0)
        guard clientConnects else { return }
        ClientEndpoint.address(near.localAddress).connect(on: reactor) { self.client }
            .whenFailed { Issue.record("\($0)") }
    }
}

extension Result<ProxiedBytes, any Error> {
    fileprivate var outcome: String {
        switch self {
        case .success(let bytes): "\(bytes.toTarget) and \(bytes.toClient)"
        case .failure(let error): "\(error)"
        }
    }
}

/// io_uring has a ring of buffers to receive into, and a worker thread for each splice.
private let splicing = testedBackends.map(\.name).filter { $0 != "io_uring" }

/// Beside the urgent byte, which nobody reads.
private let urgentByteCount = 96 * 1024 + 9

/// The faults are those of a test's thread.
@Suite struct SpliceTests {
    private static let backends = testedBackends.map(\.name)

    // P7
    @Test(arguments: backends)
    func `bulk goes from one connection to another without being read, and ends there`(
        name: String
    ) throws {
        torsion_fail_splices(0)
        let passage = Passage()
        try passage.run(on: name)
        #expect(passage.outcome == "\(wave.count) and 0")
        #expect(passage.server.hash == hashOfWave)
        #expect(passage.server.loss?.isClean == true && passage.client.loss?.isClean == true)
        let moved = torsion_spliced_bytes()
        // What its target had no room for was read, and how much that is depends on the machine.
        #expect(splicing.contains(name) ? moved > wave.count / 8 : moved == 0)
    }

    @Test(arguments: backends)
    func `small pieces are copied`(name: String) throws {
        torsion_fail_splices(0)
        let passage = Passage(sending: [1])
        var left = 100
        passage.client.heard = { transport in
            left -= 1
            if left > 0 { transport.write("again") } else { transport.loseConnection() }
        }
        passage.server.heard = { $0.write("once more") }
        try passage.run(on: name)
        #expect(torsion_spliced_bytes() == 0)
    }

    @Test(arguments: backends, [EMFILE, ENFILE])
    func `a proxy that has no descriptor left for a pipe copies`(name: String, code: Int32) throws {
        torsion_fail_splices(0)
        defer { torsion_fail_pipes(0) }
        let passage = Passage()
        passage.begin = { _ in torsion_fail_pipes(code) }
        try passage.run(on: name)
        #expect(passage.outcome == "\(wave.count) and 0")
        #expect(passage.server.hash == hashOfWave && torsion_spliced_bytes() == 0)
        // It is asked for again when there may be some, not at every read.
        #expect(torsion_pipe_calls() < 20)
    }

    @Test(arguments: backends)
    func `a proxy that gets a small pipe only copies`(name: String) throws {
        torsion_fail_splices(0)
        torsion_keep_pipes_small(1)
        defer { torsion_keep_pipes_small(0) }
        let passage = Passage()
        try passage.run(on: name)
        #expect(passage.server.hash == hashOfWave && torsion_spliced_bytes() == 0)
    }

    // What `splice(2)` stops at for ever, and `recv(2)` passes over.
    @Test(arguments: backends)
    func `urgent data in the middle of bulk neither ends it nor spins`(name: String) throws {
        torsion_fail_splices(0)
        let passage = Passage()
        passage.clientConnects = false
        var sender: Socket?
        passage.begin = { near in
            sender = try? Socket(port: near)
            // As much as the kernel takes of a sender whose peer does not read yet.
            sender?.write(String(repeating: "b", count: urgentByteCount - 9))
            sender?.writeUrgentByte()
            sender?.write("behind it")
            sender?.endOutput()
        }
        try passage.run(on: name)
        #expect(passage.outcome == "\(urgentByteCount) and 0")
        #expect(passage.server.byteCount == urgentByteCount)
        #expect(splicing.contains(name) == (torsion_spliced_bytes() > 0))
        withExtendedLifetime(sender) {}
    }

    @Test(arguments: backends, [EINVAL, ENOSYS, EPERM, ENOMEM])
    func `a proxy on a kernel that refuses to splice copies`(name: String, code: Int32) throws {
        torsion_fail_splices(code)
        defer { torsion_fail_splices(0) }
        let passage = Passage()
        try passage.run(on: name)
        #expect(passage.outcome == "\(wave.count) and 0")
        #expect(passage.server.hash == hashOfWave && torsion_spliced_bytes() == 0)
    }

    // S5
    @Test(arguments: splicing)
    func `a reset in the middle of a move is told as a reset`(name: String) throws {
        torsion_fail_splices(0)
        let listener = try Socket.bound()
        try listener.listen()
        let passage = Passage()
        passage.target = .ipv4(.loopback, port: listener.port)
        torsion_break_in_splice(
            { context in
                // What the test has until its end.
                let listener = Unmanaged<Socket>.fromOpaque(context!).takeUnretainedValue()
                try? listener.accept().reset()
            }, Unmanaged.passUnretained(listener).toOpaque())
        try passage.run(on: name)
        let error = IOError(
            .write, function: "splice", code: .connectionReset, subject: "\(passage.target!)")
        #expect(passage.outcome == "\(ConnectionLoss.failed(error))")
        #expect(passage.client.byteCount == 0)
    }

    // P7
    @Test(arguments: backends)
    func `a connection that is piped into itself is an echo`(name: String) throws {
        let client = End(sending: wave)
        nonisolated(unsafe) let made = client
        let choice = try BackendChoice.named(name, among: testedBackends)
        nonisolated(unsafe) var echoed = 0
        final class Mirror: StreamProtocol {
            var whenEnded: ((Int) -> Void)?
            func connectionMade(_ transport: any StreamTransport) {
                transport.pipe(to: transport).addCallback { [self] in whenEnded?($0) }
            }
            func dataReceived(_ bytes: RawSpan, from transport: any StreamTransport) {}
        }
        try Reactor.run(backend: choice, signals: .ignore) { reactor in
            let limit = reactor.callLater(.seconds(60)) { reactor.stop(within: .zero) }
            made.whenLost = {
                limit.cancel()
                reactor.stop(within: .zero)
            }
            let port = try reactor.listen(on: .ipv4(.loopback, port: 0)) { _ in
                let mirror = Mirror()
                mirror.whenEnded = { echoed = $0 }
                return mirror
            }
            ClientEndpoint.address(port.localAddress).connect(on: reactor) { made }
                .whenFailed { Issue.record("\($0)") }
        }
        #expect(echoed == wave.count)
        #expect(client.hash == hashOfWave)
    }
}
