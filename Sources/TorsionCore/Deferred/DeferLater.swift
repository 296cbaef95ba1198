// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

extension Reactor {
    /// Makes a Deferred that succeeds after a time, in a later turn.
    ///
    /// Cancelling it drops the call.
    ///
    /// - Parameters:
    ///   - delay: From ``now``; a negative one counts as zero.
    ///   - file: The place that traps and reports name.
    ///   - line: The place that traps and reports name.
    /// - Returns: A Deferred that cannot fail unless it is cancelled.
    @discardableResult
    public func deferLater(
        _ delay: Duration, file: StaticString = #fileID, line: UInt = #line
    ) -> Deferred<Void> {
        var call: DelayedCall?
        let deferred = Deferred<Void>(on: self, file: file, line: line) { _ in call?.cancel() }
        call = callLater(delay, file: file, line: line) { deferred.succeed() }
        return deferred
    }

    /// Calls `body` after a time, in a later turn.
    ///
    ///     reactor.deferLater(.seconds(1)) { try load() }.addCallback { … }
    ///
    /// - Parameters:
    ///   - delay: From ``now``; a negative one counts as zero.
    ///   - file: The place that traps and reports name.
    ///   - line: The place that traps and reports name.
    ///   - body: Called once, on the reactor.
    /// - Returns: A Deferred for what `body` returns or throws. Cancelling it drops the call.
    /// - SeeAlso: Twisted `task.deferLater`.
    @discardableResult
    public func deferLater<Value>(
        _ delay: Duration, file: StaticString = #fileID, line: UInt = #line,
        _ body: @escaping () throws -> Value
    ) -> Deferred<Value> {
        deferLater(delay, file: file, line: line)
            .addCallback(file: file, line: line) { () throws -> Value in try body() }
    }

    /// Calls `body` after a time, in a later turn, and waits for the Deferred that it returns.
    ///
    /// - Parameters:
    ///   - delay: From ``now``; a negative one counts as zero.
    ///   - file: The place that traps and reports name.
    ///   - line: The place that traps and reports name.
    ///   - body: Called once, on the reactor.
    /// - Returns: A Deferred for the value of that one. Cancelling drops the call, or cancels what
    ///   is waited for.
    @discardableResult
    public func deferLater<Waited: DeferredResult>(
        _ delay: Duration, file: StaticString = #fileID, line: UInt = #line,
        _ body: @escaping () throws -> Waited
    ) -> Deferred<Waited.Value> {
        deferLater(delay, file: file, line: line)
            .addCallback(file: file, line: line) { () throws -> Waited in try body() }
    }
}
