// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

/// Waits for all of `deferreds`, and gives their values in the same order.
///
/// It takes the one callback of each. The first failure is the failure of the whole; the others
/// then still run, and what they give or fail with is dropped. Cancelling the Deferred returned
/// cancels all that have no result yet. With none to wait for it has succeeded already.
///
/// - Parameters:
///   - deferreds: What to wait for; all belong to `reactor`.
///   - reactor: The reactor of the Deferred returned.
///   - file: The place that traps and reports name.
///   - line: The place that traps and reports name.
/// - Returns: A Deferred for all the values.
/// - SeeAlso: Twisted `gatherResults`.
public func gatherResults<Value>(
    _ deferreds: [Deferred<Value>], on reactor: Reactor, file: StaticString = #fileID,
    line: UInt = #line
) -> Deferred<[Value]> {
    let gathering = Gathering<Value>(count: deferreds.count)
    // Weak: the gathering owns `all`, as the members own the gathering.
    let all = Deferred<[Value]>(on: reactor, file: file, line: line) { [weak gathering] _ in
        gathering?.cancel()
    }
    gathering.all = all
    gathering.finishIfComplete()
    for (index, deferred) in deferreds.enumerated() {
        gathering.links.append(
            deferred.addBoth(file: file, line: line) { result in
                gathering.take(result, at: index)
            })
    }
    // Some may have had a result already, and the last of them let go of everything.
    if gathering.all == nil { gathering.links = [] }
    return all
}

/// What the members of one `gatherResults` have given so far.
private final class Gathering<Value> {
    var values: [Value?]
    var missing: Int
    /// The Deferred of the whole, until it is fired.
    var all: Deferred<[Value]>?
    /// What is to be cancelled with the whole.
    var links: [Deferred<Void>] = []

    init(count: Int) {
        values = Array(repeating: nil, count: count)
        missing = count
    }

    func take(_ result: Result<Value, any Error>, at index: Int) {
        switch result {
        case .success(let value):
            values[index] = value
            missing -= 1
            finishIfComplete()
        case .failure(let error):
            let all = release()
            all?.fail(error)
        }
    }

    func finishIfComplete() {
        guard missing == 0 else { return }
        // None is missing, so none is nil.
        let values = values.map { $0! }
        release()?.succeed(values)
    }

    func cancel() {
        for link in links { link.cancel() }
    }

    /// Breaks the cycle of this and the members' links, and says what to fire.
    private func release() -> Deferred<[Value]>? {
        defer {
            all = nil
            links = []
        }
        return all
    }
}
