// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

// Each verb comes twice: for a callback that returns a value, and for one that returns a Deferred,
// which is waited for. A Deferred is a value too, so both fit the latter, and the type checker
// chooses for a whole chain at once; it must never choose not to wait because of what a later verb
// returns. Two things see to that, and `AddCallbackOverloadTests` holds it:
// - No verb takes any closure whatever: `addErrback` must return the chain's own value, and
//   reporting alone is `whenFailed`.
// - The second overload takes `some DeferredResult`, not `Deferred<NewValue>`. With the latter, a
//   closure of several statements and no `return` is matched with `Deferred<Void>` wherever the
//   context asks for one, and refused for its missing return; and an errback that only throws is
//   ambiguous.

/// A result that is waited for when a callback returns it: a Deferred.
public protocol DeferredResult<Value> {
    /// The type of the value that is waited for.
    associatedtype Value

    /// The Deferred that is waited for.
    var deferred: Deferred<Value> { get }
}

extension Deferred: DeferredResult {
    /// This Deferred itself.
    @inlinable public final var deferred: Deferred<Value> { self }
}

extension Deferred {
    /// Runs `body` with the value; its result is that of the Deferred returned.
    ///
    /// A failure goes past it. An error that it throws fails the Deferred returned.
    ///
    /// - Parameters:
    ///   - file: The place that traps and reports name.
    ///   - line: The place that traps and reports name.
    ///   - body: Called at most once, on the reactor; at once if there is a value already.
    /// - Returns: A Deferred for the value that `body` returns.
    /// - SeeAlso: Twisted `Deferred.addCallback`.
    @inlinable @discardableResult
    public func addCallback<NewValue>(
        file: StaticString = #fileID, line: UInt = #line,
        _ body: @escaping (Value) throws -> NewValue
    ) -> Deferred<NewValue> {
        link(body, file: file, line: line) { upstream, link, body in
            guard let value = upstream.takeValue(orFail: link) else { return link }
            return link.settle { try body(value) }
        }
    }

    /// Runs `body` with the value, and waits for the Deferred that it returns.
    ///
    /// Cancelling then reaches the Deferred that is waited for.
    ///
    /// - Parameters:
    ///   - file: The place that traps and reports name.
    ///   - line: The place that traps and reports name.
    ///   - body: Called at most once, on the reactor; returns what is waited for.
    /// - Returns: A Deferred for the value of the one that `body` returns.
    @inlinable @discardableResult
    public func addCallback<Waited: DeferredResult>(
        file: StaticString = #fileID, line: UInt = #line,
        _ body: @escaping (Value) throws -> Waited
    ) -> Deferred<Waited.Value> {
        link(body, file: file, line: line) { upstream, link, body in
            guard let value = upstream.takeValue(orFail: link) else { return link }
            return link.wait { try body(value).deferred }
        }
    }

    /// Recovers from a failure: what `body` returns takes the place of the value.
    ///
    /// A value goes past it. To report a failure and be done, use ``whenFailed(file:line:_:)``.
    ///
    /// - Parameters:
    ///   - file: The place that traps and reports name.
    ///   - line: The place that traps and reports name.
    ///   - body: Called at most once, on the reactor; throw the error again to pass it on.
    /// - Returns: A Deferred for the value, or for the one that `body` returns.
    /// - SeeAlso: Twisted `Deferred.addErrback`.
    @inlinable @discardableResult
    public func addErrback(
        file: StaticString = #fileID, line: UInt = #line,
        _ body: @escaping (any Error) throws -> Value
    ) -> Deferred<Value> {
        link(body, file: file, line: line) { upstream, link, body in
            guard let error = upstream.takeError(orPassTo: link) else { return link }
            return link.settle { try body(error) }
        }
    }

    /// Recovers from a failure: the Deferred that `body` returns is waited for.
    ///
    /// - Parameters:
    ///   - file: The place that traps and reports name.
    ///   - line: The place that traps and reports name.
    ///   - body: Called at most once, on the reactor; returns what is waited for.
    /// - Returns: A Deferred for the value, or for that of the Deferred that `body` returns.
    @inlinable @discardableResult
    public func addErrback<Waited: DeferredResult<Value>>(
        file: StaticString = #fileID, line: UInt = #line,
        _ body: @escaping (any Error) throws -> Waited
    ) -> Deferred<Value> {
        link(body, file: file, line: line) { upstream, link, body in
            guard let error = upstream.takeError(orPassTo: link) else { return link }
            return link.wait { try body(error).deferred }
        }
    }

    /// Recovers from failures of one type; every other result goes past `body`.
    ///
    /// - Parameters:
    ///   - type: The type of error that is recovered from.
    ///   - file: The place that traps and reports name.
    ///   - line: The place that traps and reports name.
    ///   - body: Gives the value that takes the place of the error.
    /// - Returns: A Deferred for the value, or for the one that `body` returns.
    /// - SeeAlso: Twisted `Failure.trap`.
    @inlinable @discardableResult
    public func addErrback<Failure: Error>(
        of type: Failure.Type, file: StaticString = #fileID, line: UInt = #line,
        _ body: @escaping (Failure) throws -> Value
    ) -> Deferred<Value> {
        addErrback(file: file, line: line) { error throws -> Value in
            guard let error = error as? Failure else { throw error }
            return try body(error)
        }
    }

    /// Recovers from failures of one type: the Deferred that `body` returns is waited for.
    ///
    /// - Parameters:
    ///   - type: The type of error that is recovered from.
    ///   - file: The place that traps and reports name.
    ///   - line: The place that traps and reports name.
    ///   - body: Gives a Deferred for the value that takes the place of the error.
    /// - Returns: A Deferred for the value, or for that of the Deferred that `body` returns.
    @inlinable @discardableResult
    public func addErrback<Failure: Error, Waited: DeferredResult<Value>>(
        of type: Failure.Type, file: StaticString = #fileID, line: UInt = #line,
        _ body: @escaping (Failure) throws -> Waited
    ) -> Deferred<Value> {
        addErrback(file: file, line: line) { error throws -> Waited in
            guard let error = error as? Failure else { throw error }
            return try body(error)
        }
    }

    /// Runs `body` with the result, whichever it is.
    ///
    /// - Parameters:
    ///   - file: The place that traps and reports name.
    ///   - line: The place that traps and reports name.
    ///   - body: Called once, on the reactor; what it throws fails the Deferred returned.
    /// - Returns: A Deferred for the value that `body` returns.
    /// - SeeAlso: Twisted `Deferred.addBoth`.
    @inlinable @discardableResult
    public func addBoth<NewValue>(
        file: StaticString = #fileID, line: UInt = #line,
        _ body: @escaping (Result<Value, any Error>) throws -> NewValue
    ) -> Deferred<NewValue> {
        link(body, file: file, line: line) { upstream, link, body in
            let result = upstream.takeResult()
            return link.settle { try body(result) }
        }
    }

    /// Runs `body` with the result, whichever it is, and waits for the Deferred that it returns.
    ///
    /// - Parameters:
    ///   - file: The place that traps and reports name.
    ///   - line: The place that traps and reports name.
    ///   - body: Called once, on the reactor; returns what is waited for.
    /// - Returns: A Deferred for the value of the one that `body` returns.
    @inlinable @discardableResult
    public func addBoth<Waited: DeferredResult>(
        file: StaticString = #fileID, line: UInt = #line,
        _ body: @escaping (Result<Value, any Error>) throws -> Waited
    ) -> Deferred<Waited.Value> {
        link(body, file: file, line: line) { upstream, link, body in
            let result = upstream.takeResult()
            return link.wait { try body(result).deferred }
        }
    }

    /// Ends the chain: runs `body` if it failed, and drops a value.
    ///
    /// It is the last call of a chain. The failure counts as handled; what `body` throws is
    /// reported.
    ///
    /// - Parameters:
    ///   - file: The place that traps and reports name.
    ///   - line: The place that traps and reports name.
    ///   - body: Called at most once, on the reactor, with the error.
    /// - Note: For a failure that something else can take the place of, see
    ///   `addErrback`.
    @inlinable
    public func whenFailed(
        file: StaticString = #fileID, line: UInt = #line,
        _ body: @escaping (any Error) throws -> Void
    ) {
        let _: Deferred<Void> = link(body, file: file, line: line) { upstream, link, body in
            guard case .failure(let error) = upstream.takeResult() else {
                link.phase = .delivered
                return link
            }
            return link.settle { try body(error) }
        }
    }

    /// Ends the chain: drops the result, a failure too.
    ///
    /// For work whose outcome you do not need, such as a farewell that may not arrive. A failure is
    /// then not reported either.
    ///
    /// - Parameters:
    ///   - file: The place that traps and reports name.
    ///   - line: The place that traps and reports name.
    @inlinable
    public func ignore(file: StaticString = #fileID, line: UInt = #line) {
        whenFailed(file: file, line: line) { _ in }
    }
}
