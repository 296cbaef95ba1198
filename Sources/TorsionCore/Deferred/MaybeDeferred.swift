// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

extension Reactor {
    /// Calls `body` now, and makes a Deferred of what it returns or throws.
    ///
    ///     reactor.maybeDeferred { try parse(text) }.addCallback { … }
    ///
    /// - Parameters:
    ///   - file: The place that traps and reports name.
    ///   - line: The place that traps and reports name.
    ///   - body: Called once, inside the call.
    /// - Returns: A Deferred that has succeeded or failed already.
    /// - SeeAlso: Twisted `maybeDeferred`.
    @inlinable
    public func maybeDeferred<Value>(
        file: StaticString = #fileID, line: UInt = #line,
        _ body: () throws -> Value
    ) -> Deferred<Value> {
        do {
            return .succeeded(try body(), on: self, file: file, line: line)
        } catch {
            return .failed(error, on: self, file: file, line: line)
        }
    }

    /// Calls `body` now; what it throws becomes the failure of a Deferred.
    ///
    /// So an error before there is a Deferred is handled like a later failure.
    ///
    /// - Parameters:
    ///   - file: The place that traps and reports name.
    ///   - line: The place that traps and reports name.
    ///   - body: Called once, inside the call.
    /// - Returns: The Deferred that `body` returns, or one that has failed already.
    @inlinable
    public func maybeDeferred<Waited: DeferredResult>(
        file: StaticString = #fileID, line: UInt = #line,
        _ body: () throws -> Waited
    ) -> Deferred<Waited.Value> {
        do {
            return try body().deferred
        } catch {
            return .failed(error, on: self, file: file, line: line)
        }
    }
}
