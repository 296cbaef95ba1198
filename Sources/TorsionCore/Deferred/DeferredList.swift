// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

/// Several Deferreds whose results are waited for together.
///
///     DeferredList(lookups, on: reactor).results()
///         .addCallback { results in print(results.count) }
///
/// Each of its methods takes the one callback of every Deferred in it: call one of them, once. The
/// methods belong to the reactor's thread. Cancelling what they return cancels all members that are
/// still pending.
///
/// - SeeAlso: Twisted `DeferredList`, whose flags are the methods here, since their results are of
///   different types; ``gatherResults(_:on:atFirstFailure:file:line:)``, ``Reactor/race(_:file:line:)``.
public struct DeferredList<Value> {
    private let members: [Deferred<Value>]
    private let reactor: Reactor

    /// Makes a list of Deferreds, all of which belong to `reactor`.
    ///
    /// - Parameters:
    ///   - members: Each without a callback yet; may be empty.
    ///   - reactor: Where they all belong.
    public init(_ members: [Deferred<Value>], on reactor: Reactor) {
        self.members = members
        self.reactor = reactor
    }

    /// Waits for all, whatever they give.
    ///
    /// - Parameters:
    ///   - file: The place that traps and reports name.
    ///   - line: The place that traps and reports name.
    /// - Returns: A Deferred for all the results, in the order of the list. It fails only if it is
    ///   cancelled while one of the members is paused.
    public func results(
        file: StaticString = #fileID, line: UInt = #line
    ) -> Deferred<[Result<Value, any Error>]> {
        guard !members.isEmpty else { return .succeeded([], on: reactor, file: file, line: line) }
        return Gathering<Value, [Result<Value, any Error>]>.whole(
            of: members, on: reactor, others: .leaveOthers, file: file, line: line
        ) { gathering, _ in
            gathering.missing > 0 ? nil : .success(gathering.results.compactMap { $0 })
        }
    }

    /// Waits for the first value; what comes later is dropped.
    ///
    /// - Parameters:
    ///   - file: The place that traps and reports name.
    ///   - line: The place that traps and reports name.
    /// - Returns: A Deferred for the value and its place in the list. If all fail, and if the list
    ///   is empty, it fails with a ``FailureGroup``.
    /// - SeeAlso: Twisted's `fireOnOneCallback`.
    public func firstValue(
        file: StaticString = #fileID, line: UInt = #line
    ) -> Deferred<(index: Int, value: Value)> {
        firstValue(.leaveOthers, file: file, line: line)
    }

    /// Waits for all values; the first failure ends the waiting, and what comes later is dropped.
    ///
    /// - Parameters:
    ///   - file: The place that traps and reports name.
    ///   - line: The place that traps and reports name.
    /// - Returns: A Deferred for all the values, in the order of the list. It fails with a
    ///   ``FirstFailure``, or with a member's `CancellationError` as it is.
    /// - SeeAlso: Twisted's `fireOnOneErrback`.
    public func values(file: StaticString = #fileID, line: UInt = #line) -> Deferred<[Value]> {
        gather(members, on: reactor, .leaveOthers, file: file, line: line) { error, index in
            error is CancellationError ? error : FirstFailure(index: index, error: error)
        }
    }

    func firstValue(
        _ policy: GatheringPolicy, file: StaticString, line: UInt
    ) -> Deferred<(index: Int, value: Value)> {
        guard !members.isEmpty else {
            return .failed(FailureGroup(errors: []), on: reactor, file: file, line: line)
        }
        return Gathering<Value, (index: Int, value: Value)>.whole(
            of: members, on: reactor, others: policy, file: file, line: line
        ) { gathering, newest in
            if case .success(let value) = gathering.results[newest] {
                return .success((newest, value))
            }
            // One that is cancelled fails by itself, and not with the group of what that caused.
            guard gathering.missing == 0, !gathering.isCancelling else { return nil }
            let errors = gathering.results.compactMap { result -> (any Error)? in
                if case .failure(let error) = result { error } else { nil }
            }
            return .failure(FailureGroup(errors: errors))
        }
    }
}

/// The first failure of several Deferreds.
///
/// - SeeAlso: Twisted `FirstError`.
public struct FirstFailure: Error, CustomStringConvertible {
    /// The place in the list of the Deferred that failed.
    public let index: Int
    /// Its error.
    public let error: any Error

    /// One line.
    public var description: String { "number \(index) of the list failed: \(error)" }
}

/// All of several Deferreds have failed, or the list was empty.
///
/// - SeeAlso: Twisted `FailureGroup`.
public struct FailureGroup: Error, CustomStringConvertible {
    /// Their errors, in the order of the list.
    public let errors: [any Error]

    /// One line.
    public var description: String {
        errors.isEmpty
            ? "there was nothing to wait for"
            : "all failed: " + errors.map { "\($0)" }.joined(separator: "; ")
    }
}
