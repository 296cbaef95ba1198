// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

extension Reactor {
    /// Waits for the first value of several Deferreds, and cancels the others.
    ///
    ///     reactor.race(mirrors.map { fetch(from: $0) })
    ///         .addCallback { index, page in print("from \(mirrors[index])") }
    ///
    /// It takes the one callback of each. The losers are cancelled before the winner's callbacks run;
    /// what they give or fail with is dropped. Cancelling the Deferred returned cancels all.
    ///
    /// - Parameters:
    ///   - deferreds: Waited for; all belong to this reactor.
    ///   - file: The place that traps and reports name.
    ///   - line: The place that traps and reports name.
    /// - Returns: A Deferred for the value and its place in `deferreds`. If all fail it fails with
    ///   a ``FailureGroup``; with an empty list it has failed already.
    /// - SeeAlso: Twisted `race`, which never fires for an empty list.
    public func race<Value>(
        _ deferreds: [Deferred<Value>], file: StaticString = #fileID,
        line: UInt = #line
    ) -> Deferred<(index: Int, value: Value)> {
        DeferredList(deferreds, on: self).firstValue(.cancelOthers, file: file, line: line)
    }
}
