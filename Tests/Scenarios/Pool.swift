// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

import TorsionCore
import TorsionProtocols
import TorsionTesting

extension Scenario {
    /// Workers share what a beat puts into a queue; a few at a time may ask the server, which is
    /// slow, one at a time writes down what came of it, and who loses grace period leaves the line.
    static let pool = Scenario("pool") { world in
        let ledger = Ledger(world)
        world.vary()
        let server = PoolServer(world)
        try world.host("server").run { reactor in
            try server.endpoint.listen(on: reactor) {
                Framer(ledger, seed: server.nextSeed())
            }
        }
        var endpoint = ClientEndpoint.tcp(host: "server", port: 7)
        endpoint.options.connectTimeout = .seconds(30)
        endpoint.options.closeTimeout = .seconds(900)
        endpoint.options.handshakeTimeout = .seconds(30)
        let reactor = world.host("client").reactor
        let pool = Pool(
            ledger, reactor, jobCount: 1 + world.dice.below(20), pace: .milliseconds(1),
            seed: world.dice.next()
        ) { [layerCount = server.layerCount] client in
            endpoint.scrambled(layerCount).connect(on: reactor) { client }
        }
        world.always { pool.checkInvariants() }
        try world.host("client").run { _ in pool.start() }
        try world.run(limit: .seconds(36_000)) { pool.isOver && ledger.isQuiet }
        pool.checkEnd()
        if world.isCalm, world.isHonest {
            ledger.expect(pool.brokenCount == 0, "\(pool.brokenCount) calls found no answer")
        }
        try ledger.check()
    }
}

/// What stands between the server and its clients.
private final class PoolServer {
    let layerCount: Int
    let endpoint: any StreamServerEndpoint
    private var seed: UInt64

    init(_ world: SimulatedWorld) {
        func rate() -> ThrottleRate? {
            guard world.dice.percent(60) else { return nil }
            let mean = 200 + world.dice.below(20_000)
            return ThrottleRate(bytesPerSecond: mean, burstBytes: 1 + world.dice.below(900))
        }
        let layerCount = world.dice.below(3)
        let reading = rate(), writing = rate()
        var bare = ServerEndpoint.address(.ipv4(.any, port: 7))
        // So low now and then that the throttle finds the transport full.
        bare.options.watermarks = world.watermarks()
        bare.options.handshakeTimeout = .seconds(900)
        // A partition may hide a client's end for ever.
        endpoint = bare.timeouts(Timeouts(idle: .seconds(1_200)))
            .logged { _ in }
            .filtered { Throttle(reading: reading, writing: writing) }
            .scrambled(layerCount)
        self.layerCount = layerCount
        seed = world.dice.next()
    }

    func nextSeed() -> UInt64 {
        seed &+= 1
        return seed
    }
}

/// A queue, a semaphore, a lock and a beat at work, and what they must have given to whom.
final class Pool {
    private let ledger: Ledger
    private let reactor: Reactor
    private let connect: (FrameClient) -> Deferred<FrameClient>
    private let jobs: DeferredQueue<Int>
    private let places: DeferredSemaphore
    private let journal: DeferredLock
    private var beat: LoopingCall!
    private var dice: SeededDice
    private let jobCount: Int
    /// The unit of whatever takes time.
    private let pace: Duration
    private var isBeatOver = false
    /// Jobs that the beat made, those that found no room, and the latest that a worker took.
    private var madeCount = 0, overflowCount = 0, takenCount = 0, latest = 0
    private var workerCount = 0
    /// Who has a place, and who has the lock.
    private var callCount = 0, writerCount = 0
    /// Calls that ended before their answers were there, and were not cancelled.
    private(set) var brokenCount = 0

    init(
        _ ledger: Ledger, _ reactor: Reactor, jobCount: Int, pace: Duration, seed: UInt64,
        connect: @escaping (FrameClient) -> Deferred<FrameClient>
    ) {
        self.ledger = ledger
        self.reactor = reactor
        self.connect = connect
        self.jobCount = jobCount
        self.pace = pace
        dice = SeededDice(seed: seed)
        jobs = DeferredQueue(limit: 1 + dice.below(4), on: reactor)
        places = DeferredSemaphore(count: 1 + dice.below(3), on: reactor)
        journal = DeferredLock(on: reactor)
    }

    var isOver: Bool { isBeatOver && workerCount == 0 }

    func start() {
        beat = LoopingCall(on: reactor) { [unowned self] () -> Deferred<Void> in putJob() }
        let done = beat.start(every: pace * (1 + dice.below(500)))
        let first: Deferred<Void> = done.addBoth { [self] _ in isBeatOver = true }
        // Cancelled now and then, in the middle of a call or between two.
        if dice.percent(20) {
            reactor.callLater(pace * dice.below(2_000)) { first.cancel() }
        }
        for _ in 0...(1 + dice.below(5)) {
            workerCount += 1
            work()
        }
    }

    private func putJob() -> Deferred<Void> {
        madeCount += 1
        do { try jobs.put(madeCount) } catch {
            overflowCount += 1
            ledger.expect(jobs.count == jobs.limit, "a queue of \(jobs.count) has overflowed")
        }
        if madeCount == jobCount { beat.stop() }
        guard dice.percent(30) else { return .succeeded((), on: reactor) }
        return reactor.deferLater(pace * dice.below(1_000))
    }

    // MARK: Workers

    private func work() {
        let job = jobs.get().addTimeout(pace * (1 + dice.below(3_000)))
        job.addCallback { [self] number in perform(number) }
            .addBoth { [self] (_: Result<Void, any Error>) in
                guard !isBeatOver || jobs.count > 0 else {
                    workerCount -= 1
                    return
                }
                // Between two calls, or in the middle of one that takes its time.
                if dice.percent(10) { beat.reset() }
                reactor.callLater(pace * dice.below(100)) { [self] in work() }
            }
            .whenFailed { [ledger] in ledger.expect(false, "a worker failed: \($0)") }
    }

    private func perform(_ number: Int) -> Deferred<Void> {
        ledger.expect(number > latest, "job \(number) was taken behind job \(latest)")
        latest = number
        takenCount += 1
        let gracePeriod = pace * (1 + dice.below([20, 2_000, 300_000][dice.below(3)]))
        return places.run { [self] () -> Deferred<Void> in
            callCount += 1
            return call().addBoth { [self] result throws -> Void in
                callCount -= 1
                try result.get()
            }
        }
        .addTimeout(gracePeriod)
        .addCallback { [self] in write() }
    }

    private func call() -> Deferred<Void> {
        let client = FrameClient(ledger, count: 1 + dice.below(6), &dice)
        var attempt: Deferred<FrameClient>?
        var isEnded = false
        let result = Deferred<Void>(on: reactor) { _ in
            isEnded = true
            attempt?.cancel()
            client.transport?.abortConnection()
        }
        client.whenLost = { [self] isComplete in
            guard !isEnded else { return }
            isEnded = true
            if !isComplete { brokenCount += 1 }
            result.succeed()
        }
        let connected = connect(client)
        attempt = connected
        connected.whenFailed { error in
            guard !isEnded else { return }
            isEnded = true
            result.fail(error)
        }
        return result
    }

    private func write() -> Deferred<Void> {
        let gracePeriod = pace * (1 + dice.below(400))
        return journal.run { [self] () -> Deferred<Void> in
            writerCount += 1
            ledger.expect(writerCount == 1, "\(writerCount) have the lock")
            return reactor.deferLater(pace * dice.below(200)).addBoth { [self] result in
                writerCount -= 1
                try result.get()
            }
        }
        .addTimeout(gracePeriod)
    }

    // MARK: What must hold

    func checkInvariants() {
        jobs.checkInvariants()
        places.checkInvariants()
        journal.checkInvariants()
        beat?.checkInvariants()
        let taken = places.limit - places.freeCount
        ledger.expect(taken == callCount, "\(taken) places are taken by \(callCount)")
        ledger.expect(
            journal.isLocked == (writerCount == 1), "\(writerCount) have the lock between events")
        let known = overflowCount + takenCount + jobs.count
        ledger.expect(known == madeCount, "\(known) of \(madeCount) jobs are anywhere")
    }

    func checkEnd() {
        checkInvariants()
        ledger.expect(places.waitingCount == 0 && callCount == 0, "somebody waits for a place")
        ledger.expect(journal.waitingCount == 0 && writerCount == 0, "somebody waits to write")
        ledger.expect(jobs.count == 0 && jobs.waitingCount == 0, "somebody waits for a job")
    }
}
