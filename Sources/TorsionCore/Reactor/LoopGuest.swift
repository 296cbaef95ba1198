// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

/// Another event loop that runs as a guest on a reactor, for example libuv's for name resolution.
///
/// The guest's own descriptor is watched like any other (``Reactor/watch(descriptor:for:_:)``).
/// Timers, and work that was just handed in, which that descriptor does not show, go through here.
public protocol LoopGuest: AnyObject {
    /// Called before each wait: runs the loop without waiting if something was handed to it since,
    /// and returns until when the reactor may wait.
    ///
    /// - Returns: The guest's next timer, nil without one.
    func prepareToWait() -> MonotonicInstant?
}
