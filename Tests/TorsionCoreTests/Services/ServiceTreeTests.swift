// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

import Testing
import TorsionTesting

@testable import TorsionCore

/// Services in order, and their ends.
@Suite struct ServiceTreeTests {
    struct Broken: Error {}

    /// A service that does what it is told, and notes when.
    final class Scripted: ReactorService {
        struct Script {
            /// Nil never fires.
            var startDelay: Duration? = .zero
            var failsToStart = false
            /// Nil never fires.
            var stopDelay: Duration? = .zero
            /// After so long it ends by itself.
            var life: Duration?
        }

        let name: String
        let script: Script
        let reactor: Reactor
        let note: (String) -> Void
        private(set) var isAlive = false
        var givenTime: Duration?
        private var end: DelayedCall?
        /// A Deferred belongs to whoever will fire it.
        private var kept: [Deferred<Void>] = []

        init(
            _ name: String, _ script: Script, on reactor: Reactor, note: @escaping (String) -> Void
        ) {
            self.name = name
            self.script = script
            self.reactor = reactor
            self.note = note
        }

        func startService(ended: @escaping (any Error) -> Void) -> Deferred<Void> {
            note("start \(name)")
            isAlive = true
            guard let delay = script.startDelay else {
                let never = Deferred<Void>(on: reactor) { [self] _ in note("\(name) cancelled") }
                kept.append(never)
                return never
            }
            let begin = { [self] () throws -> Void in
                if script.failsToStart {
                    isAlive = false
                    throw Broken()
                }
                note("\(name) runs")
                guard let life = script.life else { return }
                end = reactor.callLater(life) { [self] in
                    isAlive = false
                    note("\(name) ended")
                    ended(Broken())
                }
            }
            if delay == .zero { return reactor.maybeDeferred { try begin() } }
            return reactor.deferLater(delay) { try begin() }
        }

        func stopService(within gracePeriod: Duration) -> Deferred<Void> {
            note("stop \(name)")
            givenTime = gracePeriod
            end?.cancel()
            guard let delay = script.stopDelay else {
                kept.append(Deferred(on: reactor))
                return kept[kept.count - 1]
            }
            return reactor.deferLater(delay) { [self] in
                isAlive = false
                note("\(name) stopped")
            }
        }
    }

    /// A clock, a tree, and what happened.
    final class World {
        let clock = ManualClock()
        let tree: ServiceTree
        var notes: [String] = []
        var reports: [String] = []
        var made: [Scripted] = []

        init() {
            tree = ServiceTree(on: clock.reactor, within: .seconds(10))
            clock.reactor.unhandledError = { [unowned self] in reports.append("\($0.error)") }
        }

        func add(
            _ name: String, whenEnded policy: ServiceEndPolicy = .stopAll,
            _ change: (inout Scripted.Script) -> Void = { _ in }
        ) {
            var script = Scripted.Script()
            change(&script)
            tree.add(name, whenEnded: policy) { [unowned self] in
                let service = Scripted(name, script, on: clock.reactor) { self.notes.append($0) }
                made.append(service)
                return service
            }
        }

        /// Starts it, and notes how that ended.
        func start() {
            tree.start().addBoth { [unowned self] result in
                switch result {
                case .success: notes.append("started")
                case .failure(let error): notes.append("\(error)")
                }
            }.ignore()
        }
    }

    @Test func `each starts when the one before it runs, and they stop in reverse`() {
        let world = World()
        world.add("a") { $0.startDelay = .seconds(1) }
        world.add("b")
        world.add("c") { $0.stopDelay = .seconds(1) }
        world.start()
        #expect(world.notes == ["start a"] && world.tree.state == .starting)
        world.clock.advance(by: .seconds(1))
        #expect(
            world.notes == [
                "start a", "a runs", "start b", "b runs", "start c", "c runs", "started",
            ])
        #expect(world.tree.runningServices == ["a", "b", "c"])
        world.notes = []
        world.tree.stop(within: .seconds(5)).addCallback { world.notes.append("done") }.ignore()
        world.clock.advance(by: .seconds(2))
        #expect(
            world.notes == [
                "stop c", "c stopped", "stop b", "b stopped", "stop a", "a stopped", "done",
            ])
        #expect(world.made.map(\.givenTime) == [.seconds(4), .seconds(4), .seconds(5)])
        #expect(world.tree.state == .stopped && world.reports == [])
    }

    @Test func `a start that fails stops those before it, and names the service`() {
        let world = World()
        world.add("a")
        world.add("b") {
            $0.startDelay = .seconds(1)
            $0.failsToStart = true
        }
        world.add("c")
        world.start()
        world.clock.advance(by: .seconds(2))
        #expect(
            world.notes == [
                "start a", "a runs", "start b", "stop a", "a stopped", "the service b: Broken()",
            ])
        #expect(world.made.count == 2 && world.tree.state == .stopped && world.reports == [])
    }

    @Test func `a stop inside the closure that makes a service starts none`() {
        let world = World()
        world.add("a")
        world.tree.add("b") { [unowned world] in
            world.tree.stop(within: .seconds(1)).ignore()
            return Scripted("b", .init(), on: world.clock.reactor) { world.notes.append($0) }
        }
        world.start()
        world.clock.advance(by: .seconds(1))
        #expect(
            world.notes == ["start a", "a runs", "stop a", "a stopped", "CancellationError()"])
        #expect(world.tree.state == .stopped && world.reports == [])
        world.tree.checkInvariants()
    }

    @Test func `a stop inside the closure that makes a service again starts none`() {
        for throwsThen in [false, true] {
            let world = World()
            var lives = 0
            world.tree.add("a", whenEnded: .restart(RetryPolicy(firstDelay: .seconds(1)))) {
                [unowned world] in
                lives += 1
                if lives == 2 { world.tree.stop(within: .seconds(5)).ignore() }
                if lives == 2, throwsThen { throw Broken() }
                var script = Scripted.Script()
                script.life = .seconds(1)
                return Scripted("a", script, on: world.clock.reactor) { world.notes.append($0) }
            }
            // The tree is still stopping when the closure returns.
            world.add("b") { $0.stopDelay = .seconds(2) }
            world.start()
            world.clock.advance(by: .seconds(60))
            #expect(lives == 2 && world.tree.state == .stopped)
            #expect(
                world.notes == [
                    "start a", "a runs", "start b", "b runs", "started", "a ended", "stop b",
                    "b stopped",
                ])
            world.tree.checkInvariants()
        }
    }

    @Test func `a stop inside the call that starts a service stops it behind the call`() {
        let world = World()
        world.add("a")
        world.tree.add("b") { [unowned world] in
            Scripted("b", .init(), on: world.clock.reactor) { note in
                world.notes.append(note)
                if note == "start b" { world.tree.stop(within: .seconds(1)).ignore() }
            }
        }
        world.start()
        world.clock.advance(by: .seconds(1))
        #expect(
            world.notes == [
                "start a", "a runs", "start b", "b runs", "stop b", "b stopped", "stop a",
                "a stopped", "CancellationError()",
            ])
        #expect(world.tree.state == .stopped && world.reports == [])
        world.tree.checkInvariants()
    }

    @Test func `a stop gives up a start that is under way`() {
        let world = World()
        world.add("a")
        world.add("b") { $0.startDelay = nil }
        world.start()
        world.tree.stop(within: .seconds(1)).ignore()
        world.clock.advance(by: .seconds(1))
        #expect(
            world.notes == [
                "start a", "a runs", "start b", "b cancelled", "stop b", "b stopped", "stop a",
                "a stopped", "CancellationError()",
            ])
    }

    @Test func `a service that does not stop takes the time of the others and no more`() {
        let world = World()
        world.add("a")
        world.add("b") { $0.stopDelay = nil }
        world.start()
        var end: MonotonicInstant?
        let begin = world.clock.now
        world.tree.stop(within: .seconds(3)).addCallback { end = world.clock.now }.ignore()
        world.clock.advance(by: .seconds(10))
        #expect(end.map { begin.duration(to: $0) } == .seconds(3))
        #expect(world.made[0].givenTime == .zero && world.made[1].givenTime == .seconds(3))
        #expect(world.reports.count >= 1)
    }

    @Test func `a service that ends is started again, behind growing delays`() {
        let world = World()
        let policy = RetryPolicy(
            attemptLimit: 4, firstDelay: .seconds(1), factor: 2, longestDelay: .seconds(60),
            jitter: 0)
        world.add("a")
        world.add("b", whenEnded: .restart(policy)) { $0.life = .seconds(1) }
        world.start()
        var times: [Int64] = []
        for second in 1...20 as ClosedRange<Int64> {
            world.notes = []
            world.clock.advance(by: .seconds(1))
            if world.notes.contains("start b") { times.append(second) }
        }
        // One second of life each, and delays of 1, 2 and 4; the fourth end is the last.
        #expect(times == [2, 5, 10])
        #expect(world.tree.state == .stopped && world.made.filter(\.isAlive).isEmpty)
        #expect(world.reports.last == "the service b: Broken()")
    }

    @Test func `a service that was well for long begins with the first delay`() {
        let world = World()
        let policy = RetryPolicy(
            attemptLimit: 2, firstDelay: .seconds(1), longestDelay: .seconds(4), jitter: 0)
        world.add("a", whenEnded: .restart(policy)) { $0.life = .seconds(5) }
        world.start()
        world.clock.advance(by: .seconds(100))
        #expect(world.tree.state == .running && world.made.count >= 16)
        world.tree.stop().ignore()
        world.clock.advance(by: .seconds(1))
        #expect(world.tree.state == .stopped)
    }

    @Test func `a service may end without the others, or end them`() {
        for (policy, isRunning) in [(ServiceEndPolicy.ignore, true), (.stopAll, false)] {
            let world = World()
            world.add("a")
            world.add("b", whenEnded: policy) { $0.life = .seconds(1) }
            world.add("c")
            world.start()
            world.clock.advance(by: .seconds(2))
            #expect((world.tree.state == .running) == isRunning)
            #expect(world.tree.runningServices == (isRunning ? ["a", "c"] : []))
            #expect(world.reports == [isRunning ? "Broken()" : "the service b: Broken()"])
            world.tree.stop().ignore()
            world.clock.advance(by: .seconds(1))
        }
    }

    @Test func `a branch fails its tree`() {
        let world = World()
        world.tree.add("branch") {
            let branch = ServiceTree(on: world.clock.reactor)
            branch.add("leaf") {
                Scripted("leaf", .init(life: .seconds(1)), on: world.clock.reactor) { _ in }
            }
            return branch
        }
        world.start()
        #expect(world.notes == ["started"])
        world.clock.advance(by: .seconds(2))
        #expect(world.tree.state == .stopped)
        #expect(world.reports == ["the service branch: the service leaf: Broken()"])
    }

    @Test func `it may be started again, and a beat is a service`() {
        let clock = ManualClock()
        let tree = ServiceTree(on: clock.reactor)
        var beats = 0
        tree.add("beat") {
            LoopingService(LoopingCall(on: clock.reactor) { beats += 1 }, every: .seconds(1))
        }
        for _ in 0..<2 {
            tree.start()
            clock.advance(by: .seconds(3))
            tree.stop()
            clock.advance(by: .seconds(3))
        }
        #expect(beats == 8 && tree.state == .stopped)
    }

    @Test(arguments: 1...300 as ClosedRange<UInt64>)
    func `whatever services do, the order and the time are kept, and none is left`(seed: UInt64) {
        var random = SeededGenerator(seed: seed)
        let world = World()
        let count = Int.random(in: 1...5, using: &random)
        func delay() -> Duration? {
            switch Int.random(in: 0..<6, using: &random) {
            case 0: nil
            case 1, 2: .zero
            default: .milliseconds(Int.random(in: 1...800, using: &random))
            }
        }
        for number in 0..<count {
            let policy: ServiceEndPolicy =
                switch Int.random(in: 0..<3, using: &random) {
                case 0: .ignore
                case 1: .stopAll
                default: .restart(RetryPolicy(attemptLimit: 3, firstDelay: .milliseconds(200)))
                }
            world.add("\(number)", whenEnded: policy) {
                $0.startDelay = delay()
                $0.failsToStart = Int.random(in: 0..<8, using: &random) == 0
                $0.stopDelay = delay()
                if Bool.random(using: &random) { $0.life = delay() }
            }
        }
        world.start()
        for _ in 0..<Int.random(in: 0...20, using: &random) {
            world.clock.advance(
                by: .milliseconds(Int.random(in: 0...300, using: &random)))
            world.tree.checkInvariants()
        }
        let gracePeriod = Duration.milliseconds(Int.random(in: 0...2_000, using: &random))
        let begin = world.clock.now
        var end: MonotonicInstant?
        world.tree.stop(within: gracePeriod).addCallback { end = world.clock.now }.ignore()
        world.clock.advance(by: .seconds(30))
        world.tree.checkInvariants()
        #expect(world.tree.state == .stopped || world.tree.state == .idle)
        // A stop that a service had caused has the tree's own time.
        #expect(end.map { begin.duration(to: $0) <= max(gracePeriod, .seconds(10)) } ?? false)
        // Every one that was made was asked to stop, or had ended by itself or not started.
        for service in world.made where service.isAlive { #expect(service.givenTime != nil) }
        // A service is first started when those before it have run, and stops before them.
        var running: Set<Int> = []
        var stopping: [Int] = []
        for note in world.notes {
            let words = note.split(separator: " ")
            if words.count == 2, words[0] == "start", let number = Int(words[1]) {
                #expect(stopping.isEmpty)
                #expect((0..<number).allSatisfy { running.contains($0) }, "\(world.notes)")
            } else if words.count == 2, words[1] == "runs", let number = Int(words[0]) {
                running.insert(number)
            } else if words.count == 2, words[0] == "stop", let number = Int(words[1]) {
                #expect(stopping.last.map { $0 > number } ?? true, "\(world.notes)")
                stopping.append(number)
            }
        }
    }
}
