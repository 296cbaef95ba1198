// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

import Testing
import TorsionCore

/// Random scripts over lists of Deferreds, against the rules of `gatherResults`, `DeferredList` and
/// `race`.
struct ListModelTests {
    enum Kind: CaseIterable { case gather, gatherCancelling, results, values, firstValue, race }

    /// What came of the whole, in words.
    typealias Text = String

    /// The list by its rules.
    ///
    /// A result is a number: above 0 a value, below an error, 0 a cancellation.
    struct Model {
        let kind: Kind
        /// What each member gives when it is cancelled; nil if there is nobody to ask.
        let cancelled: [Int]
        var results: [Int?]
        var isHeld: [Bool]
        /// What the list was told, in the order in which that happened.
        var told: [(index: Int, result: Int)] = []
        var whole: Text?
        var isCancelling = false
        var isMade = false

        /// What is there when the list is made is told then.
        mutating func begin() {
            isMade = true
            for index in results.indices where !isHeld[index] { tell(index) }
            if results.isEmpty { whole = decided }
        }

        mutating func give(_ index: Int, _ result: Int) {
            guard results[index] == nil else { return }
            results[index] = result
            if isMade, !isHeld[index] { tell(index) }
        }

        mutating func release(_ index: Int) {
            isHeld[index] = false
            if results[index] != nil { tell(index) }
        }

        mutating func cancelWhole() {
            guard whole == nil else { return }
            isCancelling = true
            for index in results.indices { give(index, cancelled[index]) }
            if whole == nil { whole = "cancelled" }
        }

        private mutating func tell(_ index: Int) {
            guard !told.contains(where: { $0.index == index }), let result = results[index] else {
                return
            }
            told.append((index, result))
            guard whole == nil, let decided else { return }
            whole = decided
            guard kind == .race || kind == .gatherCancelling else { return }
            for index in results.indices { give(index, cancelled[index]) }
        }

        /// The rule of each kind.
        private var decided: Text? {
            let isComplete = told.count == results.count
            let ordered = told.sorted { $0.index < $1.index }.map(\.result)
            switch kind {
            case .results: return isComplete ? "\(ordered)" : nil
            case .gather, .gatherCancelling, .values:
                if let bad = told.first(where: { $0.result <= 0 }) {
                    if bad.result == 0 { return "cancelled" }
                    return kind == .values ? "\(bad.index) failed \(bad.result)" : "\(bad.result)"
                }
                return isComplete ? "\(ordered)" : nil
            case .firstValue, .race:
                if let good = told.first(where: { $0.result > 0 }) {
                    return "\(good.index) gave \(good.result)"
                }
                return isComplete && !isCancelling ? "none of \(ordered)" : nil
            }
        }
    }

    /// One run: the real list, and the model of it.
    final class Script {
        let still = StillReactor()
        var random: SplitMix64
        var model: Model
        var members: [Deferred<Int>] = []
        /// Whether it may be fired: once, and once more after a cancellation that nobody answered.
        var canFire: [Bool]
        let hasCanceller: [Bool]
        var whole: Text?
        var end: AnyDeferred?

        init(seed: UInt64) {
            var random = SplitMix64(state: seed)
            let count = Int.random(in: 0...5, using: &random)
            let kind = Kind.allCases.randomElement(using: &random) ?? .gather
            hasCanceller = (0..<count).map { _ in Bool.random(using: &random) }
            let answers = hasCanceller.map { $0 ? Int.random(in: -3...3, using: &random) : 0 }
            model = Model(
                kind: kind, cancelled: answers, results: Array(repeating: nil, count: count),
                isHeld: Array(repeating: false, count: count))
            canFire = Array(repeating: true, count: count)
            self.random = random
            let reactor = still.reactor
            members = (0..<count).map { index in
                let answer = answers[index]
                guard hasCanceller[index] else { return Deferred(on: reactor) }
                return Deferred(on: reactor) { if answer != 0 { Script.fire($0, answer) } }
            }
        }

        static func fire(_ deferred: Deferred<Int>, _ result: Int) {
            if result > 0 {
                deferred.succeed(result)
            } else {
                deferred.fail(Failed(number: result))
            }
        }
    }

    @Test func `a list does what the rules say, in whatever order its members end`() {
        for seed in 1...5_000 as ClosedRange<UInt64> {
            let script = Script(seed: seed)
            script.begin()
            for _ in 0..<12 {
                #expect(script.whole == script.model.whole, "seed \(seed)")
                let pending = script.members.map(\.isPending)
                #expect(pending == script.model.results.map { $0 == nil }, "seed \(seed)")
                script.step()
            }
            script.finish()
            #expect(script.whole == script.model.whole, "seed \(seed)")
            #expect(script.still.unhandled.isEmpty, "seed \(seed)")
        }
    }
}

extension ListModelTests.Script {
    /// Ends and holds some of the members, and makes the list.
    func begin() {
        for index in members.indices {
            if Int.random(in: 0..<4, using: &random) == 0 { hold(index) }
            if Int.random(in: 0..<4, using: &random) == 0 { fire(index) }
        }
        model.begin()
        makeWhole()
    }

    func step() {
        guard let index = members.indices.randomElement(using: &random) else { return }
        switch Int.random(in: 0..<8, using: &random) {
        case 0..<4: fire(index)
        case 4:
            model.give(index, model.cancelled[index])
            if hasCanceller[index] { canFire[index] = false }
            members[index].cancel()
        case 5, 6:
            guard model.isHeld[index] else { return }
            model.release(index)
            members[index].resume()
        case 7:
            model.cancelWhole()
            end?.cancel()
        default: break
        }
    }

    /// Ends and lets go of all members.
    func finish() {
        for index in members.indices {
            if model.isHeld[index] {
                model.release(index)
                members[index].resume()
            }
            if model.results[index] == nil { fire(index) }
        }
        #expect(whole != nil)
    }

    private func hold(_ index: Int) {
        model.isHeld[index] = true
        members[index].pause()
    }

    private func fire(_ index: Int) {
        // One with a canceller has had its say if it was cancelled, by whomever.
        guard canFire[index], model.results[index] == nil || !hasCanceller[index] else { return }
        canFire[index] = false
        let result = [-2, -1, 1, 2].randomElement(using: &random) ?? 1
        model.give(index, result)
        Self.fire(members[index], result)
    }

    private func makeWhole() {
        let reactor = still.reactor
        let list = DeferredList(members, on: reactor)
        switch model.kind {
        case .gather: note(gatherResults(members, on: reactor)) { "\($0)" }
        case .gatherCancelling:
            note(gatherResults(members, on: reactor, atFirstFailure: .cancelOthers)) { "\($0)" }
        case .results: note(list.results()) { "\($0.map(Self.number))" }
        case .values: note(list.values()) { "\($0)" }
        case .firstValue: note(list.firstValue()) { "\($0.index) gave \($0.value)" }
        case .race: note(reactor.race(members)) { "\($0.index) gave \($0.value)" }
        }
    }

    private func note<Whole>(_ deferred: Deferred<Whole>, _ text: @escaping (Whole) -> String) {
        end = deferred
        deferred.addBoth { [unowned self] result in
            #expect(whole == nil)
            whole = result.text(text)
        }
    }

    private static func number(_ result: Result<Int, any Error>) -> Int {
        do { return try result.get() } catch { return (error as? Failed)?.number ?? 0 }
    }
}

extension Result where Failure == any Error {
    fileprivate func text(_ text: (Success) -> String) -> String {
        switch self {
        case .success(let value): text(value)
        case .failure(let error as Failed): "\(error.number)"
        case .failure(let error as FirstFailure):
            "\(error.index) failed \((error.error as? Failed)?.number ?? 0)"
        case .failure(let error as FailureGroup):
            "none of \(error.errors.map { ($0 as? Failed)?.number ?? 0 })"
        case .failure(let error): error is CancellationError ? "cancelled" : "\(error)"
        }
    }
}
