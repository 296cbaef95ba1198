// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

/// Watches several Deferreds, and fires one for the whole as soon as its result is decided.
///
/// It takes the one callback of each. The members own it through their callbacks, and it owns the
/// whole: so what was promised lives as long as anybody may still fire a member.
final class Gathering<Value, Whole> {
    typealias Outcome = Result<Whole, any Error>

    /// What the members have given so far, by their places in the list.
    private(set) var results: [Result<Value, any Error>?]
    private(set) var missing: Int
    /// Whether the whole is being cancelled, and its members for that reason.
    private(set) var isCancelling = false

    /// Says what the whole is, given the newest result; nil if that is still open.
    private let decide: (Gathering, Int) -> Outcome?
    private let others: GatheringPolicy
    private var state = State.watching(decided: nil)
    private var links: [Deferred<Void>] = []

    private enum State {
        /// The members are being watched. Some are there already, and may have decided it; it ends
        /// when all are watched, so that all others can be cancelled, the earlier and the later.
        case watching(decided: Outcome?)
        case open(Deferred<Whole>)
        case ended
    }

    private init(
        count: Int, others: GatheringPolicy, decide: @escaping (Gathering, Int) -> Outcome?
    ) {
        results = Array(repeating: nil, count: count)
        missing = count
        self.others = others
        self.decide = decide
    }

    /// Watches at least one Deferred.
    ///
    /// - Returns: The Deferred of the whole. Cancelling it cancels all that have no result yet.
    static func whole(
        of members: [Deferred<Value>], on reactor: Reactor, others: GatheringPolicy,
        file: StaticString, line: UInt, decide: @escaping (Gathering, Int) -> Outcome?
    ) -> Deferred<Whole> {
        let gathering = Gathering(count: members.count, others: others, decide: decide)
        // Weak: the gathering owns the whole.
        let whole = Deferred<Whole>(on: reactor, file: file, line: line) { [weak gathering] _ in
            gathering?.cancel()
        }
        for (index, member) in members.enumerated() {
            let link = member.addBoth(file: file, line: line) { gathering.take($0, at: index) }
            gathering.links.append(link)
        }
        gathering.open(whole)
        return whole
    }

    private func take(_ result: Result<Value, any Error>, at index: Int) {
        switch state {
        case .watching(decided: nil):
            state = .watching(decided: outcome(with: result, at: index))
        case .open(let whole):
            if let outcome = outcome(with: result, at: index) { finish(whole, outcome) }
        case .watching(decided: .some), .ended:
            break
        }
    }

    private func outcome(with result: Result<Value, any Error>, at index: Int) -> Outcome? {
        results[index] = result
        missing -= 1
        return decide(self, index)
    }

    private func open(_ whole: Deferred<Whole>) {
        if case .watching(decided: .some(let outcome)) = state {
            finish(whole, outcome)
        } else {
            state = .open(whole)
        }
    }

    private func finish(_ whole: Deferred<Whole>, _ outcome: Outcome) {
        let links = end()
        if others == .cancelOthers { for link in links { link.cancel() } }
        switch outcome {
        case .success(let value): whole.succeed(value)
        case .failure(let error): whole.fail(error)
        }
    }

    private func cancel() {
        isCancelling = true
        for link in links { link.cancel() }
        // One that is paused gives nothing now: what it gives later belongs to nobody.
        _ = end()
    }

    /// Breaks the cycle of this and the links; what comes late finds nothing to do.
    private func end() -> [Deferred<Void>] {
        defer {
            state = .ended
            results = []
            links = []
        }
        return links
    }
}

/// Whether the other Deferreds are cancelled when one of several has decided the result of the
/// whole.
public enum GatheringPolicy: Hashable, Sendable {
    /// They run on, and what they give is dropped.
    case leaveOthers
    /// Those without a result are cancelled, before the whole fires.
    case cancelOthers
}
