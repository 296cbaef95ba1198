// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

#if TLS

import TestedBackends
import Testing
import Torsion
import TorsionTLS
import TorsionTesting

/// Writes much as fast as it may, then closes.
private final class Source: PushProducer {
    private let transport: any StreamTransport
    private var left: Int
    private var isPaused = false
    private(set) var hash = StreamHash()
    private(set) var mostPending = 0
    private let pattern = [UInt8].pattern(count: 1 << 16)

    init(_ byteCount: Int, to transport: any StreamTransport) {
        (left, self.transport) = (byteCount, transport)
        transport.registerProducer(self)
        produce()
    }

    private func produce() {
        while !isPaused {
            guard left > 0 else {
                transport.unregisterProducer()
                return transport.loseConnection()
            }
            let count = min(left, 1 + left % 40_009)
            let piece = Bytes(Array(pattern[..<count]))
            left -= count
            hash.add(piece.span)
            transport.write(piece)
            mostPending = max(mostPending, transport.pendingByteCount)
        }
    }

    func pauseProducing() { isPaused = true }
    func resumeProducing() {
        isPaused = false
        produce()
    }
    func stopProducing() {}
}

@Suite struct TransferTests {
    @Test(arguments: backends, [TLSVersion.v12, .v13])
    func `8 MB arrive whole at a reader that pauses, and little is queued`(
        backend: BackendChoice, version: TLSVersion
    ) throws {
        let reader = Note()
        reader.recordsText = false
        let pair = try Pair(backend, server: reader, try serverConfiguration(version))
        var source: Source?
        pair.client.whenMade = { source = Source(8 << 20, to: $0) }
        var rounds = 0
        reader.whenMade = { transport in
            func pause() {
                guard reader.loss == nil, rounds < 200 else { return }
                rounds += 1
                transport.pauseProducing()
                transport.reactor.callLater(.microseconds(300)) {
                    transport.resumeProducing()
                    transport.reactor.callLater(.microseconds(300)) { pause() }
                }
            }
            pause()
        }
        try pair.connect()
        pair.run { reader.loss != nil && pair.client.loss != nil }
        #expect(reader.byteCount == 8 << 20 && reader.hash == source?.hash)
        #expect(reader.loss == .closedByPeer && pair.client.loss == .closedLocally)
        #expect(source!.mostPending <= Watermarks().high + 40_009)
        source = nil
        rounds = 200
        pair.run { pair.reactor.statistics.delayedCalls == 0 }
        pair.finish()
    }

    @Test(arguments: backends.map { BackendChoice.faulty($0, .irregular(seed: 3)) })
    func `bytes that come cut and late, and are taken in pieces, are the same`(
        backend: BackendChoice
    ) throws {
        let reader = Note()
        reader.recordsText = false
        let pair = try Pair(backend, server: reader)
        var source: Source?
        pair.client.whenMade = { source = Source(300_000, to: $0) }
        try pair.connect()
        pair.run { reader.loss != nil && pair.client.loss != nil }
        #expect(reader.byteCount == 300_000 && reader.hash == source?.hash)
        #expect(reader.loss == .closedByPeer)
        source = nil
        pair.finish()
    }

    @Test(arguments: backends)
    func `TLS-11: a half-close goes through, and the answer comes behind it`(
        backend: BackendChoice
    ) throws {
        let server = HalfNote(), client = HalfNote()
        let pair = try Pair(backend, server: server, client: client)
        client.whenMade = { transport in
            transport.write("question")
            transport.loseWriteConnection()
        }
        try pair.connect()
        pair.run { server.events == ["made", "<question", "end"] }
        server.transport?.write("answer")
        server.transport?.loseConnection()
        pair.run { client.loss != nil && server.loss != nil }
        #expect(client.text == "answer" && client.loss?.isClean == true)
        pair.finish()
    }

    @Test(arguments: backends)
    func `TLS-9: a peer that is cut off is no clean end`(backend: BackendChoice) throws {
        let pair = try Pair(backend)
        pair.server.whenMade = { $0.write("hello") }
        pair.client.whenRead = { _, transport in transport.write("bye") }
        pair.server.whenRead = { _, transport in transport.abortConnection() }
        try pair.connect()
        pair.run { pair.client.loss != nil }
        #expect(pair.client.loss?.isClean == false)
        pair.finish()
    }
}

/// A line, then TLS: as SMTP does it.
private final class Lines {
    static func serve(_ note: Note, _ context: TLSServerContext) {
        note.whenRead = { text, transport in
            if text.hasPrefix("STARTTLS\n") {
                transport.write("go ahead\n")
                // Nothing may stand behind the command.
                let rest = Bytes(String(text.dropFirst(9)))
                transport.startTLS(context, remaining: rest.span).whenFailed { _ in }
            } else {
                transport.write("secret " + text)
            }
        }
    }
}

@Suite struct StartTLSTests {
    private func port(
        _ backend: BackendChoice, _ server: Note
    ) throws -> (reactor: Reactor, port: ListeningPort) {
        let reactor = Reactor(backend: backend, services: nil)
        Lines.serve(server, try TLSServerContext(serverConfiguration()))
        let port = try ServerEndpoint.address(.ipv4(.loopback, port: 0))
            .listen(on: reactor) { server }
        return (reactor, port)
    }

    private func run(_ reactor: Reactor, until isDone: () -> Bool) {
        let end = reactor.now.advanced(by: .seconds(20))
        while !isDone(), reactor.now < end { reactor.turn(until: end) }
        #expect(isDone())
    }

    @Test(arguments: backends)
    func `TLS-14: a connection goes on under TLS, what was written before leaves in the clear`(
        backend: BackendChoice
    ) throws {
        let server = Note(), client = Note()
        let (reactor, port) = try port(backend, server)
        let context = try TLSClientContext(clientConfiguration())
        var isDone = false
        client.whenMade = { $0.write("STARTTLS\n") }
        client.whenRead = { text, transport in
            guard text == "go ahead\n" else { return }
            let upgrade = try transport.startTLS(context, serverName: "a.test")
            // Waits until the handshake is done.
            transport.write("pass")
            upgrade
                .addCallback { _ in
                    isDone = true
                    transport.write("word")
                }.whenFailed { Issue.record("\($0)") }
        }
        ClientEndpoint.address(port.localAddress).connect(on: reactor) { client }
            .whenFailed { Issue.record("\($0)") }
        run(reactor) { server.text.hasSuffix("password") && client.text.hasSuffix("word") }
        #expect(isDone && server.text == "STARTTLS\npassword")
        #expect(client.transport?.security?.isPeerVerified == true)
        #expect(server.transport?.security?.version == "TLSv1.3")
        client.transport?.loseConnection()
        run(reactor) { server.loss != nil && client.loss != nil }
        #expect(server.loss == .closedByPeer)
        port.stopListening()
        run(reactor) { reactor.statistics.lingeringStreams == 0 }
        reactor.shutDown()
    }

    @Test(arguments: backends)
    func `TLS-14: a command that comes behind STARTTLS in the clear is never delivered`(
        backend: BackendChoice
    ) throws {
        let server = Note(), client = Note()
        let (reactor, port) = try port(backend, server)
        reactor.unhandledError = { Issue.record("\($0)") }
        client.whenMade = { $0.write("STARTTLS\nRSET\nRSET\n") }
        ClientEndpoint.address(port.localAddress).connect(on: reactor) { client }
            .whenFailed { Issue.record("\($0)") }
        run(reactor) { server.loss != nil && client.loss != nil }
        #expect(server.events.count == 3 && !client.text.contains("secret"))
        guard case .protocolFailed(let error)? = server.loss else {
            Issue.record("\(server.loss as Any)")
            return
        }
        #expect((error as? TLSError)?.cause == .notTLS)
        port.stopListening()
        run(reactor) { reactor.statistics.lingeringStreams == 0 }
        reactor.shutDown()
    }
}

@Suite struct AsyncStartTLSTests {
    /// A line, as it was read so far.
    private static func line(of connection: AsyncConnection) async throws -> String {
        var line = ""
        while !line.hasSuffix("\n") {
            // A byte at a time, so that what stands behind the line is not read.
            guard let bytes = try await connection.read({ Bytes($0) }) else { break }
            line += String(decoding: bytes.span)
        }
        return line
    }

    @Test(arguments: backends)
    func `TLS-14: tasks on both sides go on under TLS`(backend: BackendChoice) throws {
        let reactor = Reactor(backend: backend, services: nil)
        let server = try TLSServerContext(serverConfiguration())
        let client = try TLSClientContext(clientConfiguration())
        let endpoint = ServerEndpoint.address(.ipv4(.loopback, port: 0))
        nonisolated(unsafe) var port: ListeningPort?
        nonisolated(unsafe) var heard = ""
        let serving = reactor.spawn {
            try await endpoint.serve(on: reactor, whenListening: { port = $0 }) { connection in
                #expect(try await Self.line(of: connection) == "STARTTLS\n")
                try await connection.write("go ahead\n")
                try await connection.startTLS(server)
                #expect(connection.transport.security?.version == "TLSv1.3")
                heard = try await Self.line(of: connection)
                try await connection.write("welcome\n")
                connection.close()
            }
        }
        let talking = reactor.spawn {
            while port == nil { await reactor.yield() }
            let address = try #require(port).localAddress
            let connection = try await ClientEndpoint.address(address)
                .connect(on: reactor).value
            try await connection.write("STARTTLS\n")
            #expect(try await Self.line(of: connection) == "go ahead\n")
            try await connection.startTLS(client, serverName: "a.test")
            #expect(connection.transport.security?.isPeerVerified == true)
            try await connection.write("password\n")
            #expect(try await Self.line(of: connection) == "welcome\n")
            #expect(try await connection.read { _ in } == nil)
            serving.cancel()
        }
        serving.whenFailed { #expect($0 is CancellationError) }
        talking.whenFailed { Issue.record("\($0)") }
        let end = reactor.now.advanced(by: .seconds(20))
        while talking.isPending || serving.isPending, reactor.now < end {
            reactor.turn(until: end)
        }
        #expect(heard == "password\n" && !talking.isPending)
        while reactor.statistics.lingeringStreams > 0, reactor.now < end {
            reactor.turn(until: end)
        }
        reactor.shutDown()
    }

    @Test(arguments: backends)
    func `TLS-14: what was read too much is TLS, and fails there`(
        backend: BackendChoice
    ) throws {
        let reactor = Reactor(backend: backend, services: nil)
        let server = try TLSServerContext(serverConfiguration())
        let note = Note()
        nonisolated(unsafe) var port: ListeningPort?
        nonisolated(unsafe) var failure: (any Error)?
        let serving = reactor.spawn {
            try await ServerEndpoint.address(.ipv4(.loopback, port: 0)).serve(
                on: reactor, whenListening: { port = $0 }
            ) { connection in
                // The reader has not come for what arrived yet.
                while connection.transport.isDelivering { await reactor.yield() }
                do { try await connection.startTLS(server) } catch { failure = error }
            }
        }
        serving.whenFailed { #expect($0 is CancellationError) }
        let end = reactor.now.advanced(by: .seconds(20))
        while port == nil, reactor.now < end { reactor.turn(until: end) }
        note.whenMade = { $0.write("RSET\nRSET\n") }
        ClientEndpoint.address(try #require(port).localAddress)
            .connect(on: reactor) { note }.whenFailed { Issue.record("\($0)") }
        while note.loss == nil || failure == nil, reactor.now < end { reactor.turn(until: end) }
        guard case .protocolFailed(let error)? = failure as? ConnectionLoss else {
            Issue.record("\(failure as Any)")
            return
        }
        #expect((error as? TLSError)?.cause == .notTLS)
        serving.cancel()
        while serving.isPending || reactor.statistics.lingeringStreams > 0, reactor.now < end {
            reactor.turn(until: end)
        }
        reactor.shutDown()
    }
}

#endif
