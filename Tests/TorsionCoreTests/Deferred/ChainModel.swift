// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

/// What one link of a chain does with the result before it.
enum ChainVerb: CaseIterable {
    case add, throwing, waitReady, waitLater, waitFailing
    case recover, recoverLater
    case both, bothLater, pass
    case either, eitherThrowing, eitherLater
}

/// A result, comparable: an error is its number, a cancellation 0.
enum ChainOutcome: Equatable {
    case value(Int), error(Int)
}

/// A chain as the rules describe it: a list of results, one for each Deferred, computed from left to
/// right as far as there is something to compute from.
///
/// Place 0 is the source; verb `n` makes place `n + 1` of place `n`.
struct ChainModel {
    private enum Step {
        case now(ChainOutcome)
        /// The callback returned a Deferred that has no result yet.
        case later
    }

    private(set) var verbs: [ChainVerb] = []
    /// The callbacks that ran, by the numbers of their verbs, in order.
    private(set) var ran: [Int] = []
    /// What the place that has come furthest holds; nil while it waits.
    private(set) var outcome: ChainOutcome?
    /// The place that has come furthest.
    private var front = 0
    private var pauses = [0]
    /// The Deferreds that callbacks have returned, in order: whether the chain waits for it still.
    private var inner: [Bool] = []

    /// What came out at the end, if it did.
    var result: ChainOutcome? { front == verbs.count ? outcome : nil }

    mutating func append(_ verb: ChainVerb) {
        verbs.append(verb)
        pauses.append(0)
        advance()
    }

    /// The source is fired; after a cancellation, which is its result, the first is dropped.
    mutating func fireSource(_ new: ChainOutcome) {
        if front == 0, outcome == nil { arrive(new) }
    }

    /// The oldest Deferred that a callback returned is fired.
    mutating func fireInner(_ new: ChainOutcome) {
        if inner.removeFirst() { arrive(new) }
    }

    mutating func pause(_ place: Int) { pauses[place] += 1 }

    mutating func resume(_ place: Int) {
        pauses[place] -= 1
        advance()
    }

    /// Whoever is waited for is cancelled, if the place has no result: then all before it, up to the
    /// front, have gone on, and the front waits or is paused.
    mutating func cancel(_ place: Int) {
        guard place >= front, outcome == nil else { return }
        if let waited = inner.indices.last(where: { inner[$0] }) { inner[waited] = false }
        arrive(.error(0))
    }

    private mutating func arrive(_ new: ChainOutcome) {
        outcome = new
        advance()
    }

    private mutating func advance() {
        while let outcome, pauses[front] == 0, front < verbs.count {
            let (step, runs) = Self.apply(verbs[front], to: outcome)
            if runs { ran.append(front) }
            front += 1
            switch step {
            case .now(let new): self.outcome = new
            case .later:
                self.outcome = nil
                inner.append(true)
            }
        }
    }

    /// What a link makes of a result, and whether its callback runs for that.
    private static func apply(
        _ verb: ChainVerb, to outcome: ChainOutcome
    ) -> (step: Step, runs: Bool) {
        switch (verb, outcome) {
        case (.add, .value(let value)): (.now(.value(value + 1)), true)
        case (.throwing, .value(let value)): (.now(.error(value)), true)
        case (.waitReady, .value): (.now(.value(100)), true)
        case (.waitLater, .value): (.later, true)
        case (.waitFailing, .value): (.now(.error(200)), true)
        case (.recover, .error(let number)): (.now(.value(number + 10)), true)
        case (.recoverLater, .error): (.later, true)
        case (.both, .value(let value)): (.now(.value(value + 1_000)), true)
        case (.both, .error(let number)): (.now(.value(number + 2_000)), true)
        case (.bothLater, _): (.later, true)
        case (.pass, _): (.now(outcome), true)
        case (.either, .value(let value)): (.now(.value(value + 3)), true)
        case (.either, .error(let number)): (.now(.value(number + 4)), true)
        case (.eitherThrowing, .value(let value)): (.now(.error(value + 5)), true)
        case (.eitherThrowing, .error(let number)): (.now(.error(number + 6)), true)
        case (.eitherLater, _): (.later, true)
        case (.add, .error), (.throwing, .error), (.waitReady, .error), (.waitLater, .error),
            (.waitFailing, .error), (.recover, .value), (.recoverLater, .value):
            (.now(outcome), false)
        }
    }
}
