// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

extension Deferred {
    /// Runs `onValue` with a value or `onFailure` with an error: one of them, once.
    ///
    /// Unlike an errback behind a callback, `onFailure` is not given what `onValue` throws.
    ///
    ///     request.addCallbacks { "got \($0)" } onFailure: { "failed: \($0)" }
    ///
    /// - Parameters:
    ///   - file: The place that traps and reports name.
    ///   - line: The place that traps and reports name.
    ///   - onValue: Called with a value, on the reactor; what it throws fails the Deferred
    ///     returned.
    ///   - onFailure: Called with an error, on the reactor; what it throws fails the Deferred
    ///     returned.
    /// - Returns: A Deferred for what the one that ran returns.
    /// - SeeAlso: Twisted `Deferred.addCallbacks`.
    @inlinable @discardableResult
    public func addCallbacks<NewValue>(
        file: StaticString = #fileID, line: UInt = #line,
        _ onValue: @escaping (Value) throws -> NewValue,
        onFailure: @escaping (any Error) throws -> NewValue
    ) -> Deferred<NewValue> {
        addBoth(file: file, line: line) { result throws -> NewValue in
            switch result {
            case .success(let value): try onValue(value)
            case .failure(let error): try onFailure(error)
            }
        }
    }

    /// Runs `onValue` with a value or `onFailure` with an error, and waits for the Deferred that it
    /// returns.
    ///
    /// - Parameters:
    ///   - file: The place that traps and reports name.
    ///   - line: The place that traps and reports name.
    ///   - onValue: Called with a value, on the reactor; returns what is waited for.
    ///   - onFailure: Called with an error, on the reactor; returns what is waited for.
    /// - Returns: A Deferred for the value of the one that is waited for.
    @inlinable @discardableResult
    public func addCallbacks<Waited: DeferredResult>(
        file: StaticString = #fileID, line: UInt = #line,
        _ onValue: @escaping (Value) throws -> Waited,
        onFailure: @escaping (any Error) throws -> Waited
    ) -> Deferred<Waited.Value> {
        addBoth(file: file, line: line) { result throws -> Waited in
            switch result {
            case .success(let value): try onValue(value)
            case .failure(let error): try onFailure(error)
            }
        }
    }
}
