// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

import Testing
import TorsionCore

/// Random scripts against a model that computes what a chain gives, link by link.
struct DeferredModelTests {
    /// What one link does with the result before it.
    enum Verb: CaseIterable {
        case add, throwing, waitReady, waitLater, waitFailing, recover, recoverLater, both, pass
    }

    /// A result, comparable: an error is its number, a cancellation 0.
    enum Outcome: Equatable {
        case value(Int), error(Int)

        init(_ result: Result<Int, any Error>) {
            switch result {
            case .success(let value): self = .value(value)
            case .failure(let error): self = .error((error as? Failed)?.number ?? 0)
            }
        }
    }

    /// What a link makes of a result; whatever is waited for gives 100, or error 200.
    static func model(_ verb: Verb, _ outcome: Outcome) -> Outcome {
        switch (verb, outcome) {
        case (.add, .value(let value)): .value(value + 1)
        case (.throwing, .value(let value)): .error(value)
        case (.waitReady, .value), (.waitLater, .value): .value(100)
        case (.waitFailing, .value): .error(200)
        case (.recover, .error(let number)): .value(number + 10)
        case (.recoverLater, .error): .value(100)
        case (.both, .value(let value)): .value(value + 1000)
        case (.both, .error(let number)): .value(number + 2000)
        default: outcome
        }
    }

    /// One run: a chain that grows while it is fired, paused and waited for.
    final class Script {
        let still = StillReactor()
        var random: SplitMix64
        var pending: [Deferred<Int>] = []
        var paused: [Deferred<Int>] = []

        init(seed: UInt64) { random = SplitMix64(state: seed) }

        func later() -> Deferred<Int> {
            let inner = Deferred<Int>(on: still.reactor)
            pending.append(inner)
            return inner
        }

        func link(_ verb: Verb, after end: Deferred<Int>) -> Deferred<Int> {
            let reactor = still.reactor
            switch verb {
            case .add: return end.addCallback { $0 + 1 }
            case .throwing: return end.addCallback { throw Failed(number: $0) }
            case .waitReady: return end.addCallback { _ in Deferred.succeeded(100, on: reactor) }
            case .waitLater: return end.addCallback { [self] _ in later() }
            case .waitFailing:
                return end.addCallback { _ in
                    Deferred<Int>.failed(Failed(number: 200), on: reactor)
                }
            case .recover: return end.addErrback { (($0 as? Failed)?.number ?? 0) + 10 }
            case .recoverLater: return end.addErrback { [self] _ in later() }
            case .both:
                return end.addBoth { result in
                    switch Outcome(result) {
                    case .value(let value): value + 1000
                    case .error(let number): number + 2000
                    }
                }
            case .pass: return end.addBoth { try $0.get() }
            }
        }

        /// Fires or resumes something, if there is anything.
        func step() -> Bool {
            if !paused.isEmpty, pending.isEmpty || Bool.random(using: &random) {
                paused.remove(at: Int.random(in: 0..<paused.count, using: &random)).resume()
                return true
            }
            guard !pending.isEmpty else { return false }
            pending.removeFirst().succeed(100)
            return true
        }
    }

    @Test func `a chain gives what its links say, however it is fired and paused`() {
        for seed in 1...2_000 as ClosedRange<UInt64> {
            let script = Script(seed: seed)
            let (seen, expected) = script.run()
            #expect(seen == [expected], "seed \(seed)")
            #expect(script.still.unhandled.isEmpty, "seed \(seed)")
        }
    }
}

extension DeferredModelTests.Script {
    /// Makes a chain and fires its source on the way; gives what came out, and what should have.
    func run() -> (seen: [DeferredModelTests.Outcome], expected: DeferredModelTests.Outcome) {
        let source = Deferred<Int>(on: still.reactor)
        let isGood = Bool.random(using: &random)
        var expected = isGood ? DeferredModelTests.Outcome.value(1) : .error(2)
        var end = source
        let length = Int.random(in: 0...12, using: &random)
        let firingTime = Int.random(in: 0...length, using: &random)
        for index in 0...length {
            if index == firingTime {
                if isGood { source.succeed(1) } else { source.fail(Failed(number: 2)) }
            }
            if Int.random(in: 0..<4, using: &random) == 0 {
                end.pause()
                paused.append(end)
            }
            if Int.random(in: 0..<4, using: &random) == 0 { _ = step() }
            guard index < length else { break }
            let verb = DeferredModelTests.Verb.allCases.randomElement(using: &random) ?? .pass
            end = link(verb, after: end)
            expected = DeferredModelTests.model(verb, expected)
        }
        var seen: [DeferredModelTests.Outcome] = []
        end.addBoth { result in seen.append(DeferredModelTests.Outcome(result)) }
        while step() {}
        return (seen, expected)
    }
}
