// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

/// What a protocol of this package reaches of its connection directly: the time, and room for a write.
///
/// A call through `any StreamTransport` retains the transport and goes through a table, and
/// ``StreamTransport/write(capacity:_:)`` makes a closure: together a tenth of what an HTTP request costs.
/// A protocol that holds this class unmanaged pays for none of them. It may use it from `connectionMade`
/// until `connectionLost` returns, or until another protocol takes its place.
///
///     guard let cork = connection.cork(withRoomFor: 200) else { … }    // then write(capacity:)
///     … cork.pointee.end …
///     cork.pointee.count += 120
@safe
package class CorkedConnection {
    package final let reactor: Reactor
    /// Small writes made in this connection's own event are coalesced here, see ``Cork``.
    final let cork: UnsafeMutablePointer<Cork>
    /// Cached fast-path test: open, nothing queued, no pull producer, no observer, no switch or filter
    /// to come.
    @exclusivity(unchecked) final var isPlain = false

    init(on reactor: Reactor) {
        self.reactor = reactor
        unsafe cork = reactor.coalescingPool.cork
    }

    final var address: UInt {
        unsafe UInt(bitPattern: Unmanaged.passUnretained(self).toOpaque())
    }

    /// ``Reactor/now``, on the reactor's thread.
    package final var presentTime: MonotonicInstant { reactor.presentTime }

    /// What the present event has written, with room behind it for bytes that leave when it ends.
    ///
    /// On the reactor's thread, which is not checked: the other ways to write do so.
    ///
    /// - Parameter capacity: How many bytes may be put at its end before anything else is called; then its
    ///   count is raised.
    /// - Returns: `nil` outside of the connection's own event, when something else comes first or forbids
    ///   it, and where there is no room: then write in another way.
    package final func cork(withRoomFor capacity: Int) -> UnsafeMutablePointer<Cork>? {
        guard isPlain, unsafe cork.pointee.owner == address,
            unsafe capacity < CoalescingPool.bufferCapacity &- cork.pointee.count
        else { return nil }
        return unsafe cork
    }
}
