// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

import Testing
import TorsionCore

/// Random scripts against a model written from the rules.
///
/// A chain grows while it is fired, paused, resumed, waited for and cancelled; after each step the
/// callbacks that ran, and at last the result, must be the model's.
struct DeferredModelTests {
    /// One run: the real chain, and the model of it.
    final class Script {
        let still = StillReactor()
        var random: SplitMix64
        var model = ChainModel()
        var chain: [Deferred<Int>] = []
        var inner: [Deferred<Int>] = []
        var paused: [Int] = []
        var ran: [Int] = []
        /// How often the source can be fired: once more after a cancellation.
        var canFireSource = true

        init(seed: UInt64) {
            random = SplitMix64(state: seed)
            chain = [Deferred<Int>(on: still.reactor)]
        }

        func later() -> Deferred<Int> {
            let deferred = Deferred<Int>(on: still.reactor)
            inner.append(deferred)
            return deferred
        }
    }

    @Test func `a chain does what the rules say, however it is fired, paused and cancelled`() {
        for seed in 1...3_000 as ClosedRange<UInt64> {
            let script = Script(seed: seed)
            for _ in 0..<40 {
                script.step()
                #expect(script.ran == script.model.ran, "seed \(seed)")
            }
            let seen = script.finish()
            #expect(seen == script.model.result, "seed \(seed)")
            #expect(script.ran == script.model.ran, "seed \(seed)")
            #expect(script.still.unhandled.isEmpty, "seed \(seed)")
        }
    }
}

extension DeferredModelTests.Script {
    func step() {
        let place = Int.random(in: 0..<chain.count, using: &random)
        switch Int.random(in: 0..<12, using: &random) {
        case 0..<4 where chain.count < 16: append()
        case 4: fireSource()
        case 5, 6: fireInner()
        case 7:
            model.pause(place)
            paused.append(place)
            chain[place].pause()
        case 8, 9: resume()
        case 10:
            model.cancel(place)
            chain[place].cancel()
        default: break
        }
    }

    /// Lets everything that is held back go on, and gives what came out.
    func finish() -> ChainOutcome? {
        var seen: ChainOutcome?
        if canFireSource { fireSource() }
        while !inner.isEmpty || !paused.isEmpty {
            fireInner()
            resume()
        }
        chain[chain.count - 1].addBoth { seen = ChainOutcome($0) }
        return seen
    }

    private func append() {
        let verb = ChainVerb.allCases.randomElement(using: &random) ?? .pass
        model.append(verb)
        chain.append(link(verb, number: chain.count - 1))
    }

    private func fireSource() {
        guard canFireSource else { return }
        canFireSource = false
        if Bool.random(using: &random) {
            model.fireSource(.value(1))
            chain[0].succeed(1)
        } else {
            model.fireSource(.error(2))
            chain[0].fail(Failed(number: 2))
        }
    }

    private func fireInner() {
        guard !inner.isEmpty else { return }
        if Int.random(in: 0..<4, using: &random) > 0 {
            model.fireInner(.value(100))
            inner.removeFirst().succeed(100)
        } else {
            model.fireInner(.error(300))
            inner.removeFirst().fail(Failed(number: 300))
        }
    }

    private func resume() {
        guard !paused.isEmpty else { return }
        let place = paused.remove(at: Int.random(in: 0..<paused.count, using: &random))
        model.resume(place)
        chain[place].resume()
    }

    private func link(_ verb: ChainVerb, number: Int) -> Deferred<Int> {
        let end = chain[number]
        let reactor = still.reactor
        let run = { [unowned self] in ran.append(number) }
        func told<Input, Output>(
            _ body: @escaping (Input) throws -> Output
        ) -> (Input) throws -> Output {
            { input in
                run()
                return try body(input)
            }
        }
        let laterValue = told { [unowned self] (_: Int) in later() }
        let laterError = told { [unowned self] (_: any Error) in later() }
        switch verb {
        case .add: return end.addCallback(told { $0 + 1 })
        case .throwing: return end.addCallback(told { throw Failed(number: $0) })
        case .waitReady:
            return end.addCallback(told { _ in Deferred.succeeded(100, on: reactor) })
        case .waitLater: return end.addCallback(laterValue)
        case .waitFailing:
            return end.addCallback(
                told { _ in Deferred<Int>.failed(Failed(number: 200), on: reactor) })
        case .recover: return end.addErrback(told { ChainOutcome.number($0) + 10 })
        case .recoverLater: return end.addErrback(laterError)
        case .both:
            return end.addBoth(
                told { result in
                    switch ChainOutcome(result) {
                    case .value(let value): value + 1_000
                    case .error(let number): number + 2_000
                    }
                })
        case .bothLater: return end.addBoth(told { [unowned self] _ in later() })
        case .pass: return end.addBoth(told { try $0.get() })
        case .either:
            return end.addCallbacks(
                told { $0 + 3 }, onFailure: told { ChainOutcome.number($0) + 4 })
        case .eitherThrowing:
            return end.addCallbacks(
                told { throw Failed(number: $0 + 5) },
                onFailure: told { throw Failed(number: ChainOutcome.number($0) + 6) })
        case .eitherLater: return end.addCallbacks(laterValue, onFailure: laterError)
        }
    }
}

extension ChainOutcome {
    init(_ result: Result<Int, any Error>) {
        switch result {
        case .success(let value): self = .value(value)
        case .failure(let error): self = .error(Self.number(error))
        }
    }

    static func number(_ error: any Error) -> Int { (error as? Failed)?.number ?? 0 }
}
