// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

// Writes are coalesced while an event is handled, and leave when it ends.
//
// An event is one delivery: bytes of a connection, a due timer, a call from another thread, the end
// of a connection. A transport, or an object of the program's that buffers during it, puts itself on
// the reactor's flush list. At the end of the event the list is emptied, the newest first: what writes
// to a transport when it is flushed puts that transport there in turn. So a transport offers what one
// event wrote in one piece: a filter below it seals one record, and the socket writes once.

/// Something that buffers during an event and must flush it at its end.
public protocol EndOfEventFlushing: AnyObject {
    /// Passes on what was buffered. Called once for each ``Reactor/flushAtEndOfEvent(_:)``.
    func flush()
}

extension Reactor {
    /// Asks for one `flush()` when the present event ends; at once outside of an event.
    ///
    /// - Parameter buffer: Held until it was flushed.
    public func flushAtEndOfEvent(_ buffer: any EndOfEventFlushing) {
        checkThread()
        guard eventDepth > 0 else { return performEvent { flushList.append(buffer) } }
        flushList.append(buffer)
    }

    /// Runs `body` as one event: what is written inside leaves when it returns.
    ///
    /// The engine does this around every callback. A driver of its own, for example a transport in
    /// memory, does it around what it delivers.
    ///
    /// - Parameter body: Called once, now.
    @inline(__always)
    public func performEvent(_ body: () -> Void) {
        beginEvent()
        body()
        endEvent()
    }

    @inline(__always)
    func beginEvent() {
        if meter != nil { measureBegin() }
        eventDepth &+= 1
    }

    @inline(__always)
    func endEvent() {
        // An event inside another (a transport in memory that is fed by a callback) leaves the
        // flushing to the outer one, so that no flush runs inside a protocol's callback.
        if eventDepth == 1, !flushList.isEmpty { emptyFlushList() }
        eventDepth &-= 1
        if meter != nil { measureEnd() }
    }

    /// Flushes before the end of an event, unless that is inside another.
    @inline(never)
    func flushInside() {
        if eventDepth == 1 { emptyFlushList() }
    }

    @inline(never)
    private func emptyFlushList() {
        while let newest = flushList.popLast() { newest.flush() }
    }
}

/// What a connection writes while its own event is handled, nearly all that a server writes.
///
/// There is one, the reactor's, so that nothing is taken and given back for a message.
package struct Cork {
    let base: UnsafeMutableRawPointer
    /// How many bytes it has.
    package var count = 0
    /// Whose event it is: an address, compared and never followed; 0 outside of such events.
    var owner: UInt = 0

    /// Where the next byte goes.
    package var end: UnsafeMutableRawPointer { unsafe base + count }
}

/// Buffers for what an event writes to other connections (a broadcast, a proxy), reused so that the
/// steady state allocates nothing.
///
/// The free ones are a list through their own first words.
@safe
final class CoalescingPool {
    /// Large enough for a turn's worth of short answers, small enough that a broadcast to
    /// thousands of connections stays in the megabytes.
    static let bufferCapacity = 16 * 1024
    private static let keptCount = 64

    @exclusivity(unchecked) private var first: UnsafeMutableRawPointer?
    @exclusivity(unchecked) private var count = 0

    /// The reactor's own buffer: see ``Cork``.
    let cork: UnsafeMutablePointer<Cork>

    init() {
        unsafe cork = .allocate(capacity: 1)
        let base = UnsafeMutableRawPointer.allocate(
            byteCount: Self.bufferCapacity, alignment: 64)
        unsafe cork.initialize(to: Cork(base: base))
    }

    deinit {
        while count > 0 { unsafe take().deallocate() }
        unsafe cork.pointee.base.deallocate()
        unsafe cork.deallocate()
    }

    /// Asserts what must hold between events.
    func checkInvariants() {
        require(
            unsafe cork.pointee.owner == 0 && cork.pointee.count == 0,
            "CoalescingPool: the cork was left in")
        require(0...Self.keptCount ~= count, "CoalescingPool: \(count) buffers are kept")
    }

    @inline(__always)
    func take() -> UnsafeMutableRawPointer {
        guard let buffer = unsafe first else {
            return UnsafeMutableRawPointer.allocate(byteCount: Self.bufferCapacity, alignment: 64)
        }
        unsafe first = buffer.load(as: UnsafeMutableRawPointer?.self)
        count &-= 1
        return unsafe buffer
    }

    @inline(__always)
    func give(_ buffer: UnsafeMutableRawPointer) {
        guard count < Self.keptCount else { return unsafe buffer.deallocate() }
        unsafe buffer.storeBytes(of: first, as: UnsafeMutableRawPointer?.self)
        unsafe first = buffer
        count &+= 1
    }
}
