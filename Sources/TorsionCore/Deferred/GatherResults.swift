// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

/// Waits for all of `deferreds`, and gives their values in the same order.
///
/// It takes the one callback of each. The first failure is the failure of the whole; what the
/// others give or fail with is dropped. Cancelling the Deferred returned cancels all that are
/// pending. With an empty list it has succeeded already.
///
/// - Parameters:
///   - deferreds: Waited for; all belong to `reactor`.
///   - reactor: The reactor of the Deferred returned.
///   - policy: Whether the others are cancelled at the first failure.
///   - file: The place that traps and reports name.
///   - line: The place that traps and reports name.
/// - Returns: A Deferred for all the values.
/// - SeeAlso: Twisted `gatherResults`.
public func gatherResults<Value>(
    _ deferreds: [Deferred<Value>], on reactor: Reactor,
    atFirstFailure policy: GatheringPolicy = .leaveOthers, file: StaticString = #fileID,
    line: UInt = #line
) -> Deferred<[Value]> {
    gather(deferreds, on: reactor, policy, file: file, line: line) { error, _ in error }
}

/// Waits for two results of different types.
///
///     let (user, quota) = try await gatherResults(find(name), quota(of: name)).value
///
/// It takes the one callback of each. The first failure is the failure of both; what the other
/// gives or fails with is dropped. Cancelling the Deferred returned cancels those that are pending.
/// For three, gather a pair and the third.
///
/// - Parameters:
///   - first: One of them.
///   - second: The other, of the same reactor.
///   - policy: Whether the other is cancelled at the first failure.
///   - file: The place that traps and reports name.
///   - line: The place that traps and reports name.
/// - Returns: A Deferred for both values.
public func gatherResults<First, Second>(
    _ first: Deferred<First>, _ second: Deferred<Second>,
    atFirstFailure policy: GatheringPolicy = .leaveOthers, file: StaticString = #fileID,
    line: UInt = #line
) -> Deferred<(First, Second)> {
    let members = [
        first.addCallback(file: file, line: line) { OneOfTwo<First, Second>.first($0) },
        second.addCallback(file: file, line: line) { OneOfTwo<First, Second>.second($0) },
    ]
    return gatherResults(
        members, on: first.reactor, atFirstFailure: policy, file: file, line: line
    ).addCallback(file: file, line: line) { values in
        guard case .first(let first) = values[0], case .second(let second) = values[1] else {
            mistake("gatherResults: the values are not in their order")
        }
        return (first, second)
    }
}

private enum OneOfTwo<First, Second> {
    case first(First)
    case second(Second)
}

/// Waits for all values; `name` makes the error of the whole of the first member's, and its place.
func gather<Value>(
    _ deferreds: [Deferred<Value>], on reactor: Reactor, _ policy: GatheringPolicy,
    file: StaticString, line: UInt, naming name: @escaping (any Error, Int) -> any Error
) -> Deferred<[Value]> {
    guard !deferreds.isEmpty else { return .succeeded([], on: reactor, file: file, line: line) }
    return Gathering<Value, [Value]>.whole(
        of: deferreds, on: reactor, others: policy, file: file, line: line
    ) { gathering, newest in
        if case .failure(let error) = gathering.results[newest] {
            return .failure(name(error, newest))
        }
        guard gathering.missing == 0 else { return nil }
        return Result { try gathering.results.compactMap { try $0?.get() } }
    }
}
