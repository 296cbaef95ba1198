// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

import TestedBackends
import Testing
import Torsion
import TorsionTesting

private let backends = BackendChoice.tested + [.simulated]

/// Sends a line and waits for one; what does not begin with "hello" is refused.
private final class Greeting: StreamFilter {
    struct Refused: Error {}

    private let word: String
    private var line: [UInt8] = []
    private let isSilent: Bool

    init(_ word: String = "hello", isSilent: Bool = false) {
        self.word = word
        self.isSilent = isSilent
        super.init()
    }

    override func begin() { if !isSilent { send(Bytes("\(word)\n")) } }

    override func receive(_ bytes: RawSpan) throws {
        guard !hasAgreed else { return deliver(bytes) }
        line += [UInt8](bytes)
        guard let end = line.firstIndex(of: UInt8(ascii: "\n")) else { return }
        guard line[..<end].elementsEqual("hello".utf8) else { throw Refused() }
        var details = ConnectionDetails()
        details[String.self] = "agreed"
        agree(details)
        deliver(Bytes(Array(line[(end + 1)...])).span)
    }
}

/// Notes what it is called with.
private final class Note: StreamProtocol {
    var transport: (any StreamTransport)?
    var text = ""
    var loss: ConnectionLoss?
    var whenMade: (any StreamTransport) -> Void = { _ in }
    var whenRead: (String, any StreamTransport) -> Void = { _, _ in }

    func connectionMade(_ transport: any StreamTransport) {
        self.transport = transport
        whenMade(transport)
    }

    func dataReceived(_ bytes: RawSpan, from transport: any StreamTransport) {
        let piece = String(decoding: bytes)
        text += piece
        whenRead(piece, transport)
    }

    func connectionLost(_ why: ConnectionLoss, from transport: any StreamTransport) {
        loss = why
        self.transport = nil
    }
}

/// One reactor with a port and a client, turned until something has come.
private final class Pair {
    let reactor: Reactor
    let port: ListeningPort
    let server = Note()
    var made = 0
    var failure: (any Error)?
    let client = Note()
    private let options: StreamOptions

    init(
        _ backend: BackendChoice, options: StreamOptions = StreamOptions(),
        server maker: @escaping FilterMaker
    ) throws {
        reactor = Reactor(backend: backend, services: nil)
        self.options = options
        let server = server
        var count = 0
        port = try ServerEndpoint.address(.ipv4(.loopback, port: 0), options: options)
            .filtered(by: maker)
            .listen(on: reactor) {
                count += 1
                return server
            }
        madeCount = { count }
    }

    let madeCount: () -> Int

    @discardableResult
    func connect(_ maker: @escaping FilterMaker) -> Deferred<Note> {
        let attempt = ClientEndpoint.address(port.localAddress, options: options)
            .filtered(by: maker).connect(on: reactor) { [client] in client }
        attempt.whenFailed { [self] in failure = $0 }
        return attempt
    }

    func run(within limit: Duration = .seconds(20), until isDone: () -> Bool) {
        let end = reactor.now.advanced(by: limit)
        while !isDone(), reactor.now < end { reactor.turn(until: end) }
        #expect(isDone())
    }

    /// Nothing is left.
    func finish() {
        reactor.shutDown()
        #expect(reactor.statistics.openHandles == 0 && reactor.statistics.liveTransports == 0)
    }
}

@Suite struct HandshakeTests {
    @Test(arguments: backends)
    func `both sides are made when both have agreed, and know what was agreed on`(
        backend: BackendChoice
    ) throws {
        let pair = try Pair(backend) { Greeting() }
        pair.client.whenMade = { $0.write("first") }
        pair.server.whenRead = { _, transport in transport.write("answer") }
        pair.connect { Greeting() }
        pair.run { pair.client.text == "answer" }
        #expect(pair.server.text == "first" && pair.madeCount() == 1)
        #expect(pair.client.transport?.details[String.self] == "agreed")
        #expect(pair.server.transport?.details[String.self] == "agreed")
        pair.finish()
    }

    @Test(arguments: backends)
    func `a refusal fails the connect with the reason, and the server is asked for nothing`(
        backend: BackendChoice
    ) throws {
        let pair = try Pair(backend) { Greeting("go away") }
        pair.connect { Greeting(isSilent: true) }
        pair.run { pair.failure != nil && pair.reactor.statistics.handshakesFailed == 1 }
        #expect(pair.failure is Greeting.Refused)
        #expect(pair.client.transport == nil && pair.client.loss == nil)
        #expect(pair.madeCount() == 0 && pair.reactor.statistics.openConnections == 0)
        pair.finish()
    }

    @Test(arguments: backends)
    func `a peer that ends in the handshake fails the connect`(backend: BackendChoice) throws {
        /// Ends as soon as it is connected.
        final class Leaving: StreamFilter {
            override func begin() throws { throw Greeting.Refused() }
        }
        let pair = try Pair(backend) { Leaving() }
        pair.reactor.unhandledError = { _ in }
        pair.connect { Greeting() }
        pair.run { pair.failure != nil }
        let error = try #require(pair.failure as? IOError)
        #expect(error.subject == "\(pair.port.localAddress)")
        pair.finish()
    }

    @Test(arguments: backends)
    func `a peer that says nothing fails the connect when its time is over`(
        backend: BackendChoice
    ) throws {
        var options = StreamOptions()
        options.handshakeTimeout = .milliseconds(20)
        let pair = try Pair(backend, options: options) { Greeting(isSilent: true) }
        pair.connect { Greeting(isSilent: true) }
        pair.run { pair.failure != nil && pair.reactor.statistics.handshakesFailed == 1 }
        // Whichever side's time was over first, the other sees an end or its own deadline.
        if let loss = pair.failure as? ConnectionLoss {
            #expect(loss == .deadlinePassed(.handshaking))
        } else {
            #expect(pair.failure is IOError)
        }
        pair.finish()
    }

    @Test(arguments: backends)
    func `cancelling in the handshake closes the stream, and calls nobody`(
        backend: BackendChoice
    ) throws {
        let pair = try Pair(backend) { Greeting(isSilent: true) }
        let attempt = pair.connect { Greeting(isSilent: true) }
        pair.run { pair.reactor.statistics.openHandles >= 3 }
        attempt.cancel()
        #expect(pair.failure != nil)
        pair.run { pair.reactor.statistics.handshakesFailed == 1 }
        #expect(pair.client.loss == nil && pair.madeCount() == 0)
        pair.finish()
    }

    @Test(arguments: backends)
    func `a run that ends in the handshake leaves nobody waiting`(backend: BackendChoice) throws {
        let pair = try Pair(backend) { Greeting(isSilent: true) }
        pair.connect { Greeting(isSilent: true) }
        pair.run { pair.reactor.statistics.openHandles >= 3 }
        pair.reactor.shutDown()
        #expect((pair.failure as? IOError)?.code == .canceled)
        #expect(pair.reactor.statistics.openHandles == 0)
    }

    @Test(arguments: backends)
    func `no more clients shake hands at a time than the limit, and the others wait`(
        backend: BackendChoice
    ) throws {
        var options = StreamOptions()
        options.handshakeLimit = 2
        let pair = try Pair(backend, options: options) { Greeting(isSilent: true) }
        var silent: [Note] = []
        for _ in 0..<5 {
            let note = Note()
            silent.append(note)
            ClientEndpoint.address(pair.port.localAddress).connect(on: pair.reactor) { note }
                .whenFailed { Issue.record("\($0)") }
        }
        // Those in the kernel's queue are connected, for all that they know.
        pair.run { silent.allSatisfy { $0.transport != nil } }
        for _ in 0..<20 { pair.reactor.turn(until: pair.reactor.now) }
        #expect(pair.madeCount() == 0)
        for note in silent { note.transport?.write("hello\n") }
        pair.run { pair.madeCount() == 5 }
        pair.finish()
    }

    // MARK: Into a live connection

    @Test(arguments: backends)
    func `a filter comes into a live connection, and nothing passes it by`(
        backend: BackendChoice
    ) throws {
        let pair = try Pair(backend) { StreamFilter() }
        var upgraded = 0
        pair.server.whenRead = { text, transport in
            guard text.hasPrefix("STARTTLS\n") else { return transport.write("echo \(text)") }
            transport.write("ready\n")
            transport.startFilter(
                Inverting(), remaining: Bytes(String(text.dropFirst(9))).span
            ).addCallback { upgraded += 1 }
        }
        pair.client.whenRead = { text, transport in
            guard text == "ready\n" else { return }
            transport.startFilter(Inverting()).addCallback {
                upgraded += 1
                transport.write("secret")
            }
        }
        // What comes behind the command in the clear is the filter's, and nonsense to it.
        pair.client.whenMade = { $0.write("STARTTLS\n") }
        pair.connect { StreamFilter() }
        pair.run { pair.client.text == "ready\necho secret" }
        #expect(upgraded == 2 && pair.server.text == "STARTTLS\nsecret")
        #expect(pair.client.transport?.details[String.self] == "inverted")
        pair.finish()
    }

    @Test(arguments: backends)
    func `bytes behind the command are the filter's first input`(backend: BackendChoice) throws {
        let pair = try Pair(backend) { StreamFilter() }
        pair.server.whenRead = { text, transport in
            guard text.hasPrefix("STARTTLS\n") else { return }
            let rest = Bytes(String(text.dropFirst(9)))
            transport.startFilter(Greeting(), remaining: rest.span).whenFailed { _ in }
        }
        pair.client.whenMade = { $0.write("STARTTLS\nRCPT TO: <victim>\n") }
        pair.connect { StreamFilter() }
        pair.run { pair.server.loss != nil }
        #expect(pair.server.loss == .protocolFailed(Greeting.Refused()))
        #expect(pair.server.text == "STARTTLS\nRCPT TO: <victim>\n")
        pair.finish()
    }

    @Test(arguments: backends)
    func `what was written in the clear leaves before the filter's first byte`(
        backend: BackendChoice
    ) throws {
        let count = 3_000_000
        let pair = try Pair(backend) { StreamFilter() }
        var received = 0
        var rest: [UInt8] = []
        pair.server.whenMade = { transport in
            transport.write([UInt8](repeating: 7, count: count))
            transport.startFilter(Inverting()).addCallback { transport.write("behind") }
        }
        let reader = Reader { bytes in
            let old = received
            received += bytes.byteCount
            if received > count { rest += [UInt8](bytes)[max(0, count - old)...] }
        }
        ClientEndpoint.address(pair.port.localAddress).connect(on: pair.reactor) { reader }
            .whenFailed { Issue.record("\($0)") }
        pair.run { received >= count + 6 || pair.server.loss != nil }
        #expect(rest == "behind".utf8.map { ~$0 })
        pair.finish()
    }

    @Test(arguments: backends)
    func `a filter that does not agree in time loses the connection, and fails`(
        backend: BackendChoice
    ) throws {
        var options = StreamOptions()
        options.handshakeTimeout = .milliseconds(20)
        let pair = try Pair(backend, options: options) { StreamFilter() }
        var failure: (any Error)?
        pair.server.whenMade = { transport in
            transport.startFilter(Greeting()).whenFailed { failure = $0 }
        }
        pair.connect { StreamFilter() }
        pair.run { pair.server.loss != nil }
        #expect(pair.server.loss == .deadlinePassed(.handshaking))
        #expect(failure as? ConnectionLoss == .deadlinePassed(.handshaking))
        pair.finish()
    }

    // MARK: Closing

    @Test(arguments: backends)
    func `a filter's farewell leaves behind the last byte, whoever closes first`(
        backend: BackendChoice
    ) throws {
        for serverFirst in [true, false] {
            let pair = try Pair(backend) { Farewell() }
            var text = ""
            let reader = Reader { text += String(decoding: $0) }
            pair.server.whenRead = { _, transport in
                transport.write("last,")
                if serverFirst { transport.loseConnection() }
            }
            reader.whenMade = { transport in
                transport.write("x")
                if !serverFirst { transport.loseWriteConnection() }
            }
            ClientEndpoint.address(pair.port.localAddress).connect(on: pair.reactor) { reader }
                .whenFailed { Issue.record("\($0)") }
            pair.run { reader.loss != nil && pair.server.loss != nil }
            #expect(text == "last,bye", "the server closes first: \(serverFirst)")
            pair.finish()
        }
    }

    @Test(arguments: backends)
    func `a close says what it is for, and everything leaves before`(
        backend: BackendChoice
    ) throws {
        let pair = try Pair(backend) { StreamFilter() }
        pair.server.whenMade = { transport in
            transport.write("because")
            transport.loseConnection(because: Greeting.Refused())
        }
        pair.connect { StreamFilter() }
        pair.run { pair.server.loss != nil && pair.client.loss != nil }
        #expect(pair.client.text == "because" && pair.client.loss == .closedByPeer)
        #expect(pair.server.loss == .protocolFailed(Greeting.Refused()))
        pair.finish()
    }
}

/// Inverts each byte on its way out, and back on its way in.
private final class Inverting: StreamFilter {
    override func begin() {
        var details = ConnectionDetails()
        details[String.self] = "inverted"
        agree(details)
    }

    override func receive(_ bytes: RawSpan) { deliver(Bytes([UInt8](bytes).map { ~$0 }).span) }

    override func transmit(_ bytes: RawSpan) -> Int {
        send(Bytes([UInt8](bytes).map { ~$0 }))
        return bytes.byteCount
    }
}

/// Says goodbye.
private final class Farewell: StreamFilter {
    override func endTransmission() { send(Bytes("bye")) }
}

/// Hands what arrives to a closure; stays half open.
private final class Reader: HalfCloseableProtocol {
    private let body: (RawSpan) -> Void
    var whenMade: (any StreamTransport) -> Void = { _ in }
    var loss: ConnectionLoss?

    init(_ body: @escaping (RawSpan) -> Void) { self.body = body }

    func connectionMade(_ transport: any StreamTransport) { whenMade(transport) }
    func dataReceived(_ bytes: RawSpan, from transport: any StreamTransport) { body(bytes) }
    func readConnectionLost(from transport: any StreamTransport) { transport.loseConnection() }
    func writeConnectionLost(from transport: any StreamTransport) {}
    func connectionLost(_ why: ConnectionLoss, from transport: any StreamTransport) { loss = why }
}
