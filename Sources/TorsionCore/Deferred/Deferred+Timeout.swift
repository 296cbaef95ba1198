// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

/// A result did not come within the time that ``Deferred/addTimeout(_:file:line:)`` gave it.
public struct TimeoutError: Error, Hashable, Sendable, CustomStringConvertible {
    /// The time that was given.
    public var limit: Duration

    /// Makes the error of a timeout.
    ///
    /// - Parameter limit: How long was waited.
    public init(limit: Duration) { self.limit = limit }

    /// One line.
    public var description: String { "no result within \(limit)" }
}

extension Deferred {
    /// Cancels the chain so far if it is without a result after `limit`.
    ///
    /// The `CancellationError` of that cancellation becomes a ``TimeoutError``. Any other result
    /// goes through as it is: also the one that a canceller gives, and a `CancellationError` by
    /// another ``AnyDeferred/cancel()`` or another timeout. Later callbacks of the chain run
    /// without the limit.
    ///
    /// - Parameters:
    ///   - limit: How long to wait from now on; the reactor's clock counts.
    ///   - file: The place that traps and reports name.
    ///   - line: The place that traps and reports name.
    /// - Returns: A Deferred for the result in time, whatever it is, or a ``TimeoutError``.
    /// - SeeAlso: Twisted `Deferred.addTimeout`.
    @discardableResult
    public func addTimeout(
        _ limit: Duration, file: StaticString = #fileID, line: UInt = #line
    ) -> Deferred<Value> {
        let watch = TimeoutWatch()
        let limited = addBoth(file: file, line: line) { result throws -> Value in
            watch.call?.cancel()
            watch.call = nil
            if watch.expired, case .failure(let error) = result, error is CancellationError {
                throw TimeoutError(limit: limit)
            }
            return try result.get()
        }
        // With the result there already, a timer would only be cancelled by nobody.
        guard limited.isPending else { return limited }
        watch.call = reactor.callLater(limit, file: file, line: line) {
            watch.expired = true
            // The callback above is gone if there is nothing left that it could have come from.
            if limited.isAbandoned { return limited.finish(.failed(TimeoutError(limit: limit))) }
            limited.cancel()
        }
        return limited
    }
}

/// What a timeout's timer and its link share.
private final class TimeoutWatch {
    var expired = false
    var call: DelayedCall?
}
