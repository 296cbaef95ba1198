// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

internal import Synchronization

/// A `Mutex` whose order the thread sanitizer can see.
///
/// A contended `Mutex` is acquired inside the standard library, which is not instrumented: the
/// sanitizer then takes two accesses that the lock has ordered for a race. The atomic flag, a plain
/// load and store on x86, tells it that the next holder comes after the last.
package struct Lock<Value: ~Copyable>: ~Copyable, Sendable {
    private let mutex: Mutex<Value>
    private let wasHeld = Atomic(false)

    /// Protects a value.
    package init(_ value: consuming sending Value) { mutex = Mutex(value) }

    /// Calls `body` with the value while no other thread has it.
    ///
    /// From any thread. Not reentrant, as `Mutex` is not.
    package borrowing func withLock<Result: ~Copyable, Failure: Error>(
        _ body: (inout sending Value) throws(Failure) -> sending Result
    ) throws(Failure) -> sending Result {
        try mutex.withLock { (value: inout sending Value) throws(Failure) -> sending Result in
            _ = wasHeld.load(ordering: .acquiring)
            defer { wasHeld.store(true, ordering: .releasing) }
            return try body(&value)
        }
    }
}
