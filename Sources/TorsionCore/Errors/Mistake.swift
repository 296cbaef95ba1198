// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

/// Stops the program for what only the caller can have done wrong.
///
/// `fatalError`, since `precondition` prints nothing in an optimised build, and a trap without its
/// sentence sends people to a debugger for what one line would have told.
///
/// `rule`: `API: what happened; what is allowed`.
@usableFromInline @inline(never)
package func mistake(_ rule: String) -> Never { fatalError(rule) }

/// Stops the program unless the caller kept a rule.
///
/// - Complexity: One branch; the sentence is made only when it is needed.
@inlinable @inline(__always)
package func require(_ condition: Bool, _ rule: @autoclosure () -> String) {
    guard condition else { mistake(rule()) }
}
