// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

// What 0.1 called by free functions, for programs that were written for it.

/// Carries everything that a source has to a consumer: ``ByteSource/pipe(to:)``.
///
/// - Parameters:
///   - source: Read as fast as the consumer takes it.
///   - destination: Written to on the reactor.
/// - Returns: As ``ByteSource/pipe(to:)``.
@available(*, deprecated, message: "use source.pipe(to: destination)")
@discardableResult
public func pipe(from source: any ByteSource, to destination: any Consumer) -> Deferred<Int> {
    source.pipe(to: destination)
}

/// Waits for the first value of several Deferreds: ``Reactor/race(_:file:line:)``.
///
/// - Parameters:
///   - deferreds: Each without a callback yet.
///   - reactor: Where they all belong.
///   - file: The place that traps and reports name.
///   - line: The place that traps and reports name.
/// - Returns: As ``Reactor/race(_:file:line:)``.
@available(*, deprecated, message: "use reactor.race(deferreds)")
public func race<Value>(
    _ deferreds: [Deferred<Value>], on reactor: Reactor, file: StaticString = #fileID,
    line: UInt = #line
) -> Deferred<(index: Int, value: Value)> {
    reactor.race(deferreds, file: file, line: line)
}

/// Calls `body` until its Deferred succeeds: ``Reactor/retry(_:file:line:_:)``.
///
/// - Parameters:
///   - policy: How often, and after what delays.
///   - reactor: Where `body` is called.
///   - file: The place that traps and reports name.
///   - line: The place that traps and reports name.
///   - body: Called for each attempt.
/// - Returns: As ``Reactor/retry(_:file:line:_:)``.
@available(*, deprecated, message: "use reactor.retry(policy) { … }")
public func retry<Waited: DeferredResult>(
    _ policy: RetryPolicy = RetryPolicy(), on reactor: Reactor, file: StaticString = #fileID,
    line: UInt = #line, _ body: @escaping () throws -> Waited
) -> Deferred<Waited.Value> {
    reactor.retry(policy, file: file, line: line, body)
}

/// Makes a Deferred of what `body` returns or throws.
///
/// - Parameters:
///   - reactor: Where the Deferred belongs.
///   - file: The place that traps and reports name.
///   - line: The place that traps and reports name.
///   - body: Called once, now.
/// - Returns: A Deferred that has fired.
@available(*, deprecated, message: "use reactor.maybeDeferred { … }")
public func maybeDeferred<Value>(
    on reactor: Reactor, file: StaticString = #fileID, line: UInt = #line,
    _ body: () throws -> Value
) -> Deferred<Value> {
    reactor.maybeDeferred(file: file, line: line, body)
}

/// Makes a failed Deferred of what `body` throws.
///
/// - Parameters:
///   - reactor: Where the Deferred belongs.
///   - file: The place that traps and reports name.
///   - line: The place that traps and reports name.
///   - body: Called once, now.
/// - Returns: A Deferred for the value of the one that `body` returns.
@available(*, deprecated, message: "use reactor.maybeDeferred { … }")
public func maybeDeferred<Waited: DeferredResult>(
    on reactor: Reactor, file: StaticString = #fileID, line: UInt = #line,
    _ body: () throws -> Waited
) -> Deferred<Waited.Value> {
    reactor.maybeDeferred(file: file, line: line, body)
}

extension ByteSource {
    /// Writes everything there is to `consumer`: ``pipe(to:)``.
    ///
    /// - Parameter consumer: Written to on the reactor.
    /// - Returns: As ``pipe(to:)``.
    @available(*, deprecated, renamed: "pipe(to:)")
    public func produce(into consumer: any Consumer) -> Deferred<Int> { pipe(to: consumer) }
}
