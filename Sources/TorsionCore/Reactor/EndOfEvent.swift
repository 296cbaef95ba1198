// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

// Writes are gathered while an event is handled, and leave when it ends.
//
// An event is one delivery: bytes of a connection, a due timer, a call from another thread, the end
// of a connection. Whoever buffers during it, a transport or a layer such as TLS, puts itself on
// the reactor's flush list. At the end of the event the list is emptied, the newest first: a layer
// puts itself there before the transport below it hears of anything, and flushing the layer puts
// the transport there in turn, so that TLS seals one record before the socket writes once.

/// Something that buffers during an event and must let go of it at its end.
public protocol EndOfEventFlushing: AnyObject {
    /// Passes on what was buffered. Called once for each ``Reactor/flushAtEndOfEvent(_:)``.
    func flush()
}

extension Reactor {
    /// Asks for one `flush()` when the present event ends; at once when there is none.
    public func flushAtEndOfEvent(_ buffer: any EndOfEventFlushing) {
        checkThread()
        guard eventDepth > 0 else { return performEvent { flushList.append(buffer) } }
        flushList.append(buffer)
    }

    /// The same for a connection. The first of an event, nearly always the one whose event it is,
    /// has a place of its own: no retain, no array.
    @inline(__always)
    func flushAtEndOfEvent(connection: StreamConnection) {
        if eventDepth > 0, unsafe firstToFlush == nil {
            // Unretained: the table of connections keeps it until the last phase of the turn.
            unsafe firstToFlush = Unmanaged.passUnretained(connection)
        } else {
            flushAtEndOfEvent(connection)
        }
    }

    /// Runs `body` as one event: what is written inside leaves when it returns.
    ///
    /// The engine does this around every callback. A driver of its own, for example a transport in
    /// memory, does it around what it delivers.
    @inline(__always)
    public func performEvent(_ body: () -> Void) {
        beginEvent()
        body()
        endEvent()
    }

    @inline(__always)
    func beginEvent() { eventDepth &+= 1 }

    @inline(__always)
    func endEvent() {
        // An event inside another (a transport in memory that is fed by a callback) leaves the
        // flushing to the outer one, so that no flush runs inside a protocol's callback.
        if eventDepth == 1 {
            if !flushList.isEmpty { emptyFlushList() }
            if unsafe firstToFlush != nil { flushFirst() }
        }
        eventDepth &-= 1
    }

    /// The first to ask is the oldest, and flushed last; what flushing it adds goes before it.
    @inline(__always)
    private func flushFirst() {
        while let connection = unsafe firstToFlush {
            unsafe firstToFlush = nil
            unsafe connection._withUnsafeGuaranteedRef { $0.flush() }
            if !flushList.isEmpty { emptyFlushList() }
        }
    }

    @inline(never)
    private func emptyFlushList() {
        while let newest = flushList.popLast() { newest.flush() }
    }
}

/// Buffers for the small writes of an event, reused so that the steady state allocates nothing.
///
/// The free ones are a list through their own first words.
@safe
final class GatherPool {
    /// Large enough for a turn's worth of short answers, small enough that a broadcast to
    /// thousands of connections stays in the megabytes.
    static let bufferCapacity = 16 * 1024
    private static let keptCount = 64

    @exclusivity(unchecked) private var first: UnsafeMutableRawPointer?
    @exclusivity(unchecked) private var count = 0

    deinit {
        while count > 0 { unsafe take().deallocate() }
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
