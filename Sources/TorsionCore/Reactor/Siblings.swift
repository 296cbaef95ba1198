// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

extension Reactor {
    /// The handles to all reactors of this one's group, in an order that is the same on each of them.
    ///
    ///     for sibling in reactor.siblings {
    ///         sibling.callFromThread { $0.companion(of: Room.self).announce(text) }
    ///     }
    ///
    /// Its own is among them, and the only one without a group. Called on the reactor. A sibling
    /// that has stopped refuses calls. For values that must not pile up there is
    /// ``ReactorChannel``.
    ///
    /// - Complexity: O(*n* log *n*) in the reactors of the group: keep what it returns.
    public var siblings: [Remote<Reactor>] {
        checkThread()
        return group?.doors ?? [remote]
    }
}
