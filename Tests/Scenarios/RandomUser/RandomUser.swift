// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

import Synchronization
public import TorsionCore
import TorsionTesting

/// A program that does anything that the public interface allows, from inside any callback.
///
/// It follows from its seed. A model says what must arrive (``Flow``), and what a transport, a
/// producer and a protocol must be called with (``Side``, ``Actor``); whatever contradicts it is a
/// violation. It runs on one reactor, which serves and connects, over any backend.
public final class RandomUser {
    let reactor: Reactor
    private var dice: SeededDice
    private let options: StreamOptions
    /// What one direction carries at most.
    private let flowLimit: Int
    private let stepLimit: Int
    private let grace: Duration

    private var links: [Link] = []
    private var ports: [ListeningPort] = []
    private var pendingAttempts = 0
    private var depth = 0
    private var isWindingDown = false
    private var hasStopped = false
    private var violations: [String] = []

    /// How many verbs were carried out.
    public private(set) var stepCount = 0
    /// Which were, and from where.
    public private(set) var coverage = RandomUserCoverage()

    private static let linkLimit = 10

    /// Filters under each connection.
    private let scramblerCount: Int

    /// One that has not started.
    ///
    /// - Parameters:
    ///   - seed: What it does follows from this, and from when the backend calls.
    ///   - reactor: Where it runs.
    ///   - stepLimit: How much it does before it ends everything in good order.
    ///   - grace: What a stop allows.
    public init(seed: UInt64, on reactor: Reactor, stepLimit: Int = 240, grace: Duration) {
        self.reactor = reactor
        self.stepLimit = stepLimit
        self.grace = grace
        dice = SeededDice(seed: seed)
        flowLimit = [20_000, 40_000, 100_000][dice.below(3)]
        var options = StreamOptions()
        options.sendBufferBytes = [4_096, 16_384, nil][dice.below(3)]
        options.receiveBufferBytes = [4_096, 16_384, nil][dice.below(3)]
        options.watermarks = Watermarks(low: dice.below(2_000), high: 2_000 + dice.below(40_000))
        options.closeTimeout = .seconds(900)
        options.handshakeTimeout = .seconds(900)
        self.options = options
        scramblerCount = dice.percent(60) ? 0 : 1 + dice.below(3)
    }

    /// Opens the first connections and begins.
    public func start() {
        // What a factory or a protocol throws is reported there.
        let report = reactor.unhandledError
        reactor.unhandledError = {
            if !($0.error is Refused || $0.error is Whim) { report($0) }
        }
        for _ in 0..<3 { connect() }
        tick()
    }

    /// Whether everything has ended.
    public var isDone: Bool {
        hasStopped
            || isWindingDown && pendingAttempts == 0
                && links.allSatisfy { $0.sides.allSatisfy { $0.life != .open } }
    }

    /// Whether something outside of the program may have broken a connection: an injected fault.
    public var allowsBreak: () -> Bool = { false }
    /// Whether an end may have been shown that no program asked for.
    public var allowsFalseEnd: () -> Bool = { false }

    /// What it saw first that must not be, or nil.
    public var violation: String? { violations.first }

    /// Releases what it holds.
    public func finish() {
        if links.count < 3 { note("only \(links.count) connections were made") }
        for side in links.flatMap(\.sides) where side.life == .open {
            note("\(side.name) was not called with its loss")
        }
        links = []
        ports = []
    }

    func note(_ violation: String) { violations.append(violation) }

    func expect(_ condition: Bool, _ text: @autoclosure () -> String) {
        if !condition { note(text()) }
    }

    // MARK: Steps

    private func tick() {
        guard !hasStopped else { return }
        guard stepCount < stepLimit else { return windDown() }
        act(in: .delayedCall, near: nil)
        reactor.callLater(.microseconds(dice.below(300))) { [self] in tick() }
    }

    /// Does a few things, or nothing.
    func act(in callback: Callback, near side: Side?) {
        try? actThrowing(in: callback, near: side)
    }

    /// The same where a callback may throw.
    func actThrowing(in callback: Callback, near side: Side?) throws {
        guard stepCount < stepLimit, depth < 6 else { return }
        depth += 1
        defer { depth -= 1 }
        for _ in 0..<dice.below(callback == .shutdownRequested ? 12 : 4) {
            let verb = drawVerb(in: callback)
            guard verb != .throwError || callback.mayThrow else { continue }
            guard perform(verb, near: side) else { continue }
            coverage.count(verb, in: callback)
            stepCount += 1
            if verb == .throwError {
                side?.willThrow()
                throw Whim()
            }
        }
    }

    private static let weightSum = Verb.allCases.map(\.weight).reduce(0, +)

    private func drawVerb(in callback: Callback) -> Verb {
        if callback.isRare { return Verb.allCases[dice.below(Verb.allCases.count)] }
        var rest = dice.below(Self.weightSum)
        for verb in Verb.allCases {
            rest -= verb.weight
            if rest < 0 { return verb }
        }
        return .writeLittle
    }

    /// What a random user throws.
    struct Whim: Error {}

    /// One that still has a transport; mostly the one whose callback it is.
    private func draw(near side: Side?) -> Side? {
        if let side, side.transport != nil, dice.percent(60) { return side }
        let sides = links.flatMap(\.sides).filter { $0.transport != nil }
        return sides.isEmpty ? nil : sides[dice.below(sides.count)]
    }

    /// - Returns: Whether it could be done.
    private func perform(_ verb: Verb, near side: Side?) -> Bool {
        switch verb {
        case .throwError: return side != nil
        case .connect:
            guard links.count < Self.linkLimit else { return false }
            connect()
        case .connectNowhere: connectNowhere()
        case .listen:
            guard let port = listen({ _ in nil }) else { return false }
            ports.append(port)
        case .stopListening:
            guard !ports.isEmpty else { return false }
            ports.remove(at: dice.below(ports.count)).stopListening()
        case .callLater:
            reactor.callLater(.microseconds(dice.below(2_000))) { [self] in
                act(in: .delayedCall, near: nil)
            }
        case .spawn: spawn()
        case .stop:
            // Late, since little can be done afterwards; a second stop changes nothing.
            guard stepCount > stepLimit * 7 / 10, hasStopped || dice.percent(50) else {
                return false
            }
            stop()
        default:
            guard let side = draw(near: side), let transport = side.transport else { return false }
            return perform(verb, on: side, transport)
        }
        return true
    }

    private func perform(_ verb: Verb, on side: Side, _ transport: any StreamTransport) -> Bool {
        switch verb {
        case .writeLittle: return write(1 + dice.below(600), to: side, transport)
        case .writeMuch: return write(1_000 + dice.below(20_000), to: side, transport)
        case .writeBytes:
            let count = 4_000 + dice.below(12_000)
            guard hasBudget(side, count) else { return false }
            transport.write(Bytes(side.bytesToWrite(count)))
        case .pause:
            side.isPaused = true
            transport.pauseProducing()
        case .resume:
            side.isPaused = false
            transport.resumeProducing()
        case .unread: return unread(to: side, transport)
        case .switchProtocol:
            guard side.life == .open, !side.awaitsSwitch else { return false }
            let next = Actor(side, self, keepsHalfOpen: dice.percent(80), isSuccessor: true)
            side.awaitsSwitch = true
            side.mayBeClosedByPeer(isHalfCloseable: next.keepsHalfOpen)
            transport.switchProtocol(to: next)
        case .registerPush, .registerLooping, .registerPull:
            guard side.life == .open, side.producer == nil else { return false }
            register(verb, with: side, transport)
        case .unregister:
            side.producer = nil
            transport.unregisterProducer()
        case .loseConnection:
            guard isRare(side) else { return false }
            side.endsWriting(whole: true)
            transport.loseConnection()
        case .loseWriteConnection:
            guard isRare(side) else { return false }
            side.endsWriting(whole: false)
            transport.loseWriteConnection()
        case .abort, .abortBecause:
            guard isRare(side) else { return false }
            side.willAbort()
            if verb == .abort {
                transport.abortConnection()
            } else {
                transport.abortConnection(because: Whim())
            }
        case .setWatermarks:
            let low = dice.below(4_000)
            let marks = Watermarks(low: low, high: low + 1 + dice.below(30_000))
            side.highestMark = max(side.highestMark, marks.high)
            transport.watermarks = marks
        case .dropReference:
            side.transport = nil
        case .throwError, .connect, .connectNowhere, .listen, .stopListening, .callLater, .spawn,
            .stop:
            return false
        }
        return true
    }

    /// Ends come seldom, or there would be little but ends.
    private func isRare(_ side: Side) -> Bool { side.life == .lost || dice.percent(40) }

    // MARK: Bytes

    private func hasBudget(_ side: Side, _ count: Int) -> Bool {
        side.sends.acceptedCount + count <= flowLimit
    }

    private func write(_ count: Int, to side: Side, _ transport: any StreamTransport) -> Bool {
        guard hasBudget(side, count) else { return false }
        transport.write(side.bytesToWrite(count))
        return true
    }

    /// Gives back some of what was used last.
    private func unread(to side: Side, _ transport: any StreamTransport) -> Bool {
        guard side.isPaused || side.awaitsSwitch, side.mayTakeBack, side.receives.usedCount > 0
        else { return false }
        let count = 1 + dice.below(min(side.receives.usedCount, 3_000))
        let bytes = side.receives.takeBack(count)
        side.hasGivenBack = true
        transport.unread(bytes.span.bytes)
        return true
    }

    // MARK: Producers

    private func register(_ verb: Verb, with side: Side, _ transport: any StreamTransport) {
        if verb == .registerPull {
            let producer = RandomPull(side, self)
            side.producer = producer
            transport.registerProducer(producer)
        } else {
            let producer = RandomPush(side, self, loops: verb == .registerLooping)
            side.producer = producer
            transport.registerProducer(producer)
            producer.produce()
        }
    }

    /// One piece for a producer that wants to write, or nil when it has nothing left.
    func nextPiece(of side: Side) -> Int? {
        let count = 1 + dice.below([300, 5_000][dice.below(2)])
        return hasBudget(side, count) ? count : nil
    }

    // MARK: What opens something

    private func listen(
        _ makeProtocol: @escaping (SocketAddress) throws -> (any StreamProtocol)?
    ) -> ListeningPort? {
        try? ServerEndpoint.address(.ipv4(.loopback, port: 0), options: options)
            .scrambled(scramblerCount).listen(on: reactor, makeProtocol)
    }

    private func connect() {
        let link = Link(number: links.count + 1, seed: dice.next())
        // What begins while the reactor stops ends with it.
        link.mayBreak = hasStopped
        // For one client, its own.
        var port: ListeningPort?
        func closePort() {
            port?.stopListening()
            port = nil
        }
        port = listen { [self] _ in
            closePort()
            return try makeServer(link)
        }
        guard let place = port?.localAddress else { return }
        links.append(link)
        let client = Actor(
            link.client, self, keepsHalfOpen: dice.percent(80), isSuccessor: false)
        pendingAttempts += 1
        let marks = options.watermarks
        for side in link.sides { side.highestMark = marks.high }
        ClientEndpoint.address(place, options: options).scrambled(scramblerCount)
            .connect(on: reactor) { client }
            .addBoth { [self] result in
                pendingAttempts -= 1
                if case .failure = result {
                    closePort()
                    act(in: .connectFailed, near: nil)
                } else {
                    act(in: .connected, near: link.client)
                }
            }
    }

    private func makeServer(_ link: Link) throws -> any StreamProtocol {
        do {
            try actThrowing(in: .factory, near: link.client)
        } catch {
            link.mayBreak = true
            throw Refused()
        }
        return Actor(link.server, self, keepsHalfOpen: dice.percent(80), isSuccessor: false)
    }

    /// A factory's error, which nobody else takes.
    struct Refused: Error {}

    private func connectNowhere() {
        guard let port = listen({ _ in nil }) else { return }
        let address = port.localAddress
        port.stopListening()
        pendingAttempts += 1
        ClientEndpoint.address(address).connect(on: reactor) { Silent() }.addBoth { [self] _ in
            pendingAttempts -= 1
            act(in: .connectFailed, near: nil)
        }
    }

    private final class Silent: StreamProtocol {
        func dataReceived(_ bytes: RawSpan, from transport: any StreamTransport) {}
    }

    private func spawn() {
        pendingAttempts += 1
        reactor.spawn { [self] in
            act(in: .job, near: nil)
            await reactor.yield()
            act(in: .job, near: nil)
        }.addBoth { [self] _ in pendingAttempts -= 1 }
    }

    // MARK: Ends

    private func stop() {
        stopsNow()
        reactor.stop(within: dice.percent(50) ? .zero : grace)
    }

    /// The reactor is about to stop, which may end any connection.
    public func stopsNow() {
        hasStopped = true
        for link in links { link.mayBreak = true }
    }

    /// Ends everything in good order.
    private func windDown() {
        isWindingDown = true
        for port in ports { port.stopListening() }
        ports = []
        for side in links.flatMap(\.sides) { end(side) }
    }

    func end(_ side: Side) {
        guard side.life == .open, let transport = side.transport ?? side.keeper else { return }
        side.producer = nil
        transport.unregisterProducer()
        side.isPaused = false
        transport.resumeProducing()
        side.endsWriting(whole: true)
        transport.loseConnection()
    }

    /// A connection was made, perhaps when everything is to end.
    func endIfOver(_ side: Side) { if isWindingDown { end(side) } }
}

extension RandomUser {
    /// Runs one on a real reactor, to its end.
    ///
    /// - Returns: What it did.
    /// - Throws: What was seen that must not be.
    public static func run(
        seed: UInt64, over backend: BackendChoice, limit: Duration = .seconds(30)
    ) throws -> RandomUserCoverage {
        weak var released: Reactor?
        let coverage = try runOne(seed: seed, over: backend, limit: limit) { released = $0 }
        if released != nil {
            throw Violation(
                description:
                    "seed \(seed) over \(backend.name): the reactor stays: \(released!.statistics)")
        }
        return coverage
    }

    private static func runOne(
        seed: UInt64, over backend: BackendChoice, limit: Duration, _ made: (Reactor) -> Void
    ) throws -> RandomUserCoverage {
        let reactor = Reactor(backend: backend, services: nil)
        made(reactor)
        var unhandled: [String] = []
        reactor.unhandledError = { unhandled.append("\($0)") }
        let user = RandomUser(seed: seed, on: reactor, grace: .seconds(2))
        var isOverdue = false
        try reactor.run(signals: .ignore) { reactor in
            user.start()
            func watch() {
                if user.isDone || user.violation != nil {
                    user.stopsNow()
                    reactor.stop(within: .zero)
                }
                reactor.callLater(.milliseconds(1)) { watch() }
            }
            watch()
            reactor.callLater(limit) {
                isOverdue = !user.isDone
                user.stopsNow()
                reactor.stop(within: .zero)
            }
        }
        user.finish()
        let figures = reactor.statistics
        let left = [
            ("handles", figures.openHandles), ("transports", figures.liveTransports),
            ("tasks", figures.tasks),
        ].filter { $0.1 != 0 }.map { "\($0.1) \($0.0) are left" }
        let faults =
            [user.violation].compactMap(\.self) + (isOverdue ? ["not done within \(limit)"] : [])
            + unhandled + left
        if let first = faults.first {
            throw Violation(description: "seed \(seed) over \(backend.name): \(first)")
        }
        return user.coverage
    }
}

extension Scenario {
    /// A random user on one host, over its loopback.
    static let randomUser = Scenario("randomUser") { world in
        world.network.conditions.latency = .microseconds([5, 50, 500][world.dice.below(3)])
        let host = world.host("host")
        var user: RandomUser?
        try host.run { reactor in
            let made = RandomUser(seed: world.seed, on: reactor, grace: .seconds(60))
            user = made
            made.start()
        }
        guard let user else { return }
        // Asked for in the step in which a fault shows.
        user.allowsBreak = { [unowned world] in !world.isCalm }
        user.allowsFalseEnd = { [unowned world] in !world.isHonest }
        world.always {
            if let violation = user.violation { throw Violation(description: violation) }
        }
        try world.run(limit: .seconds(7_200)) { user.isDone }
        user.stopsNow()
        if host.isRunning { host.reactor.stop(within: .seconds(60)) }
        try world.run(limit: .seconds(7_200)) { !host.isRunning }
        user.finish()
        if let violation = user.violation { throw Violation(description: violation) }
        RandomUserCoverage.simulated.withLock { $0.add(user.coverage) }
    }
}
