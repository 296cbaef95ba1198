// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

@_spi(Backend) internal import TorsionCore

/// One question that is being asked, for everybody who waits for its answer: carries out what a
/// ``Resolution`` decides.
///
/// The resolver and it keep each other until it has finished; its ports and connections do not.
final class QueryFlight {
    typealias Waiter = (Result<DNSAnswer, any Error>) -> Void

    private let resolver: DNSResolver
    private let reactor: Reactor
    private let key: DNSCache.Key
    private var resolution: Resolution
    private var waiters: [Int: Waiter] = [:]
    private var nextWaiter = 0
    private var ports: [DatagramPort] = []
    private var openings: [AnyDeferred] = []
    private var streams: [QueryStream] = []
    private var timer: DelayedCall?
    private(set) var isOver = false

    init(
        _ resolution: Resolution, key: DNSCache.Key, of resolver: DNSResolver, on reactor: Reactor
    ) {
        self.resolution = resolution
        self.key = key
        self.resolver = resolver
        self.reactor = reactor
    }

    /// - Returns: What `removeWaiter` takes.
    func add(_ waiter: @escaping Waiter) -> Int {
        nextWaiter += 1
        waiters[nextWaiter] = waiter
        return nextWaiter
    }

    /// Nobody waits by this any more; with the last of them the query ends.
    func removeWaiter(_ number: Int) {
        waiters[number] = nil
        if waiters.isEmpty, !isOver { end(nil) }
    }

    func start() {
        perform { $0.start(now: reactor.now, &$1) }
    }

    /// Ends without an answer.
    func cancel() { if !isOver { end(.failure(CancellationError())) } }

    // MARK: Events

    fileprivate func received(_ bytes: RawSpan, from source: SocketAddress, attempt: Int) {
        guard !isOver else { return }
        guard resolver.fillRandom() else { return end(.failure(resolver.noRandomError)) }
        let actions = resolution.received(
            bytes, from: source, attempt: attempt, now: reactor.now, &resolver.random)
        perform(actions)
    }

    fileprivate func failed(attempt: Int, _ code: ErrorCode) {
        guard !isOver else { return }
        guard !reactor.isEnding, code != .canceled else { return cancel() }
        perform { $0.failed(attempt: attempt, code, now: reactor.now, &$1) }
    }

    private func perform(
        _ event: (inout Resolution, inout RandomPool) -> [Resolution.Action]
    ) {
        guard resolver.fillRandom() else { return end(.failure(resolver.noRandomError)) }
        let actions = event(&resolution, &resolver.random)
        perform(actions)
    }

    private func perform(_ actions: [Resolution.Action]) {
        for action in actions {
            // Sending may have failed at once, and ended it.
            guard !isOver else { return }
            switch action {
            case .send(let query, let server, let attempt): send(query, to: server, attempt)
            case .connect(let query, let server, let attempt): connect(query, to: server, attempt)
            case .wait(let time): wait(until: time)
            case .finish(let outcome):
                resolver.keep(outcome, for: resolution.question)
                end(outcome.mapError { $0 as any Error })
            }
        }
    }

    private func wait(until time: MonotonicInstant) {
        timer?.cancel()
        timer = reactor.callLater(max(.zero, reactor.now.duration(to: time))) { [unowned self] in
            timer = nil
            perform { $0.timePassed(now: reactor.now, &$1) }
        }
    }

    private func send(_ query: Bytes, to server: SocketAddress, _ attempt: Int) {
        resolver.counters.datagrams += 1
        do throws(IOError) {
            var options = DatagramOptions()
            options.peerAddress = server
            // Not by the reactor's own way: the reactors of a group would share the port.
            let bound = try reactor.backend.bindDatagrams(on: server.anyPort, options: options)
            let port = reactor.adopt(
                bound, QueryPort(self, attempt: attempt, server: server), options: options)
            ports.append(port)
            try port.write(query.span)
        } catch {
            failLater(attempt, error.code)
        }
    }

    private func connect(_ query: Bytes, to server: SocketAddress, _ attempt: Int) {
        resolver.counters.connections += 1
        let opening = ClientEndpoint.address(server).connect(on: reactor) { [self] in
            QueryStream(self, attempt: attempt, server: server, query: query)
        }.addBoth { [self] result in
            switch result {
            case .success(let stream):
                if isOver { stream.abort() } else { streams.append(stream) }
            case .failure(let error as IOError): failed(attempt: attempt, error.code)
            case .failure(let error):
                if !(error is CancellationError) { failed(attempt: attempt, .connectionReset) }
            }
        }
        openings.append(opening)
    }

    /// Not inside the call that asked, which may be one of many that fail at once.
    private func failLater(_ attempt: Int, _ code: ErrorCode) {
        timer?.cancel()
        reactor.refuseLater { [weak self] in self?.failed(attempt: attempt, code) }
    }

    // MARK: The end

    private func end(_ outcome: Result<DNSAnswer, any Error>?) {
        isOver = true
        timer?.cancel()
        timer = nil
        for port in ports { port.stopListening() }
        ports = []
        let openings = openings
        self.openings = []
        for opening in openings { opening.cancel() }
        for stream in streams { stream.abort() }
        streams = []
        let waiters = waiters.sorted { $0.key < $1.key }.map(\.value)
        self.waiters = [:]
        // Keeps this alive until the last line.
        let itself = self
        resolver.forget(itself, key)
        guard let outcome else { return }
        for waiter in waiters { waiter(outcome) }
    }
}

/// A port that asks once.
private final class QueryPort: DatagramProtocol {
    private weak var flight: QueryFlight?
    private let attempt: Int
    private let server: SocketAddress

    init(_ flight: QueryFlight, attempt: Int, server: SocketAddress) {
        self.flight = flight
        self.attempt = attempt
        self.server = server
    }

    func datagramReceived(
        _ bytes: RawSpan, from address: SocketAddress, on transport: any DatagramTransport
    ) {
        flight?.received(bytes, from: address, attempt: attempt)
    }

    func connectionRefused(on transport: any DatagramTransport) {
        flight?.failed(attempt: attempt, .connectionRefused)
    }

    func datagramFailed(_ error: IOError, on transport: any DatagramTransport) {
        flight?.failed(attempt: attempt, error.code)
    }

    /// A stop closes ports while connections may still go on: their look-ups ask again.
    func transportStopped(_ transport: any DatagramTransport) {
        flight?.failed(attempt: attempt, .connectionAborted)
    }
}

/// A connection that asks once: RFC 7766.
final class QueryStream: StreamProtocol {
    private weak var flight: QueryFlight?
    private let attempt: Int
    private let server: SocketAddress
    private let query: Bytes
    /// The response with its length, as far as it is here: 65,537 bytes at most.
    private var received: [UInt8] = []
    private var transport: (any StreamTransport)?

    init(_ flight: QueryFlight, attempt: Int, server: SocketAddress, query: Bytes) {
        self.flight = flight
        self.attempt = attempt
        self.server = server
        self.query = query
    }

    func connectionMade(_ transport: any StreamTransport) {
        self.transport = transport
        transport.write { writer in
            writer.writeInteger(UInt16(query.count))
            writer.write(query)
        }
    }

    func dataReceived(_ bytes: RawSpan, from transport: any StreamTransport) {
        guard let flight else { return }
        received += bytes.extracting(first: 65_537 - received.count)
        guard received.count >= 2 else { return }
        let end = 2 + (Int(received[0]) << 8 | Int(received[1]))
        guard received.count >= end else { return }
        let message = Bytes(received[2..<end])
        received = []
        flight.received(message.span, from: server, attempt: attempt)
    }

    func connectionLost(_ why: ConnectionLoss, from transport: any StreamTransport) {
        self.transport = nil
        flight?.failed(attempt: attempt, .connectionReset)
    }

    func abort() {
        flight = nil
        transport?.abortConnection()
    }
}

extension RawSpan {
    /// At most so many bytes.
    @_lifetime(copy self)
    fileprivate func extracting(first count: Int) -> RawSpan {
        extracting(0..<Swift.min(Swift.max(0, count), byteCount))
    }
}

extension SocketAddress {
    /// Where a client of this address binds: any address of the family, any port.
    var anyPort: SocketAddress {
        switch self {
        case .ipv4: .ipv4(.any, port: 0)
        case .ipv6: .ipv6(.any, port: 0)
        case .unix, .descriptor: .unix(.unnamed)
        }
    }
}

/// Bytes that nobody can predict, fetched by the hundreds.
struct RandomPool: RandomNumberGenerator {
    /// More than one query takes: an id, and a bit for each of its at most 253 letters.
    static let reserve = 64
    private var bytes: [UInt8] = []

    var needsMore: Bool { bytes.count < Self.reserve }

    mutating func add(_ more: [UInt8]) { bytes += more }

    mutating func next() -> UInt64 {
        require(bytes.count >= 8, "RandomPool: is filled before each event")
        var number: UInt64 = 0
        for byte in bytes.suffix(8) { number = number << 8 | UInt64(byte) }
        bytes.removeLast(8)
        return number
    }
}
