// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

/// Calls `body` now, and makes a Deferred of what it returns or throws.
///
///     maybeDeferred(on: reactor) { try parse(text) }.addCallback { … }
///
/// - Returns: A Deferred that has succeeded or failed already.
/// - SeeAlso: Twisted `maybeDeferred`.
@inlinable
public func maybeDeferred<Value>(
    on reactor: Reactor, file: StaticString = #fileID, line: UInt = #line,
    _ body: () throws -> Value
) -> Deferred<Value> {
    do {
        return .succeeded(try body(), on: reactor, file: file, line: line)
    } catch {
        return .failed(error, on: reactor, file: file, line: line)
    }
}

/// Calls `body` now; what it throws becomes the failure of a Deferred.
///
/// So whoever may throw before there is a Deferred is handled like whoever fails later.
///
/// - Returns: The Deferred that `body` returns, or one that has failed already.
@inlinable
public func maybeDeferred<Waited: DeferredResult>(
    on reactor: Reactor, file: StaticString = #fileID, line: UInt = #line,
    _ body: () throws -> Waited
) -> Deferred<Waited.Value> {
    do {
        return try body().deferred
    } catch {
        return .failed(error, on: reactor, file: file, line: line)
    }
}
