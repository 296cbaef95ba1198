// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

/// Something that lives as long as a connection does, and has rules of its own.
///
/// `Reactor.checkInvariants()`, which the simulator calls after each step, asks all that connections
/// lead to: their protocols, producers, and where a pipe leads.
package protocol InvariantChecking: AnyObject {
    /// Asserts what must hold between events.
    func checkInvariants()
}
