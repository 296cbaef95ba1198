// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

@_spi(Backend) internal import TorsionCore

/// A reactor that a check turns by hand, and the sockets on it.
///
/// Whatever a check leaves open is an error: see ``finish()``.
final class World {
    let reactor: Reactor
    private var reported: [String] = []
    /// The context of each report that was taken, and of those still to be taken.
    private(set) var contexts: [String] = []

    init(_ backend: BackendChoice) throws(IOError) {
        reactor = Reactor(backend: backend, services: nil)
        try reactor.start()
        reactor.unhandledError = { [unowned self] in
            reported.append("\($0.error)")
            contexts.append($0.context)
        }
    }

    /// Takes what was reported so far, which else is an error at the end.
    func takeReports() -> [String] {
        defer { reported = [] }
        return reported
    }

    deinit {
        reactor.unhandledError = { _ in }
        reactor.shutDown()
    }

    /// Turns the reactor until the condition holds.
    ///
    /// - Throws: ``CheckFailure`` when it does not within the limit.
    func run(
        limit: Duration = .seconds(20), line: UInt = #line, file: StaticString = #fileID,
        until condition: () -> Bool
    ) throws {
        let end = reactor.now.advanced(by: limit)
        while !condition() {
            try expect(reactor.now < end, "not within \(limit)", line: line, file: file)
            reactor.turn(until: end)
        }
    }

    /// Turns the reactor until the condition holds, for what other threads do: a limit in time
    /// means nothing to them where time is virtual.
    func runWithoutLimit(until condition: () -> Bool) {
        while !condition() { reactor.turn() }
    }

    /// Turns the reactor for a while, for what must not happen.
    func run(for duration: Duration) {
        var isOver = false
        reactor.callLater(duration) { isOver = true }
        while !isOver { reactor.turn() }
    }

    /// Checks that nothing is left: no handle, no transport, no pending call.
    ///
    /// `held`: Lost transports that the check itself still refers to.
    func finish(held: Int = 0, line: UInt = #line) throws {
        // The loss of an abort is told in the turn's last phase.
        for _ in 0..<3 { reactor.turn(until: reactor.now) }
        try run(limit: .seconds(7), line: line) { reactor.statistics.lingeringStreams == 0 }
        let figures = reactor.statistics
        try expectEqual(figures.openHandles, 0, line: line)
        try expectEqual(figures.openConnections, 0, line: line)
        try expectEqual(figures.liveTransports, held, line: line)
        try expectEqual(figures.datagramPorts, 0, line: line)
        try expectEqual(figures.delayedCalls, 0, line: line)
        try expectEqual(figures.queuedBytes, 0, line: line)
        try expectEqual(takeReports(), [], line: line)
        reactor.checkInvariants()
    }

    // MARK: Connections

    static let loopback = SocketAddress.ipv4(.loopback, port: 0)

    /// Loopback as well, for a port that is closed and must stay free: what runs beside a check binds to
    /// ``loopback``, and might be given the port.
    static let quietLoopback = SocketAddress.ipv4(IPv4Address(127, 0, 0, 77), port: 0)

    /// Two recorders with a connection between them.
    func connectedPair(
        client: Recorder = Recorder(), server: Recorder = Recorder(),
        at address: SocketAddress = World.loopback, options: StreamOptions = StreamOptions()
    ) throws -> (client: Recorder, server: Recorder) {
        let port = try reactor.listen(on: address, options: options) { _ in server }
        let endpoint = ClientEndpoint.address(port.localAddress, options: options)
        var failure: (any Error)?
        endpoint.connect(on: reactor) { client }.whenFailed { failure = $0 }
        try run { failure != nil || client.transport != nil && server.transport != nil }
        port.stopListening()
        if let failure { throw failure }
        return (client, server)
    }
}

/// A protocol that writes down what happens to it.
class Recorder: StreamProtocol {
    enum Event: Equatable {
        case made
        case data(String)
        case readLost, writeLost
        case lost(ConnectionLoss)
    }

    private(set) var events: [Event] = []
    /// Of all that arrived, unless `recordsData`.
    private(set) var hash = StreamHash()
    private(set) var byteCount = 0
    private(set) var transport: (any StreamTransport)!

    var recordsData = true
    var onMade: (any StreamTransport) throws -> Void = { _ in }
    var onData: (String, any StreamTransport) throws -> Void = { _, _ in }
    var onLost: (ConnectionLoss, any StreamTransport) -> Void = { _, _ in }

    var text: String {
        events.reduce(into: "") { if case .data(let text) = $1 { $0 += text } }
    }

    var loss: ConnectionLoss? { if case .lost(let why) = events.last { why } else { nil } }

    func connectionMade(_ transport: any StreamTransport) throws {
        self.transport = transport
        events.append(.made)
        try onMade(transport)
    }

    func dataReceived(_ bytes: RawSpan, from transport: any StreamTransport) throws {
        byteCount += bytes.byteCount
        guard recordsData else {
            hash.add(bytes)
            return try onData("", transport)
        }
        let piece = String(decoding: bytes)
        if case .data(let before) = events.last {
            events[events.count - 1] = .data(before + piece)
        } else {
            events.append(.data(piece))
        }
        try onData(piece, transport)
    }

    func connectionLost(_ why: ConnectionLoss, from transport: any StreamTransport) {
        events.append(.lost(why))
        onLost(why, transport)
        self.transport = nil
        forget()
    }

    /// Lets go of what the check's closures hold, which may be the recorder itself.
    func forget() {
        onMade = { _ in }
        onData = { _, _ in }
        onLost = { _, _ in }
    }

    func note(_ event: Event) { events.append(event) }
}

/// A recorder for which each direction ends by itself.
final class HalfRecorder: Recorder, HalfCloseableProtocol {
    var onReadLost: (any StreamTransport) throws -> Void = { _ in }
    var onWriteLost: (any StreamTransport) throws -> Void = { _ in }

    override func forget() {
        super.forget()
        onReadLost = { _ in }
        onWriteLost = { _ in }
    }

    func readConnectionLost(from transport: any StreamTransport) throws {
        note(.readLost)
        try onReadLost(transport)
    }

    func writeConnectionLost(from transport: any StreamTransport) throws {
        note(.writeLost)
        try onWriteLost(transport)
    }
}

/// An error of a check's own.
struct Mishap: Error, Equatable {}
