// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

internal import TorsionCore

/// What all connections of one reactor share, so that a request costs none of them any memory.
@safe
final class HTTPShared: ReactorCompanion {
    /// The most fields that any server may allow.
    static let slotCapacity = 200

    let reactor: Reactor
    private let slots = FieldSlots(capacity: HTTPShared.slotCapacity)
    private var areSlotsLent = false

    /// `Date: `, the date and the line's end.
    private let dateLine: UnsafeMutableRawPointer
    private static let dateLineByteCount = 6 + HTTPDate.byteCount + 2
    private var dateByteCount = 0
    /// Until when the line is right.
    @exclusivity(unchecked) private var dateEnd = MonotonicInstant(nanoseconds: 0)

    init(on reactor: Reactor) {
        self.reactor = reactor
        unsafe dateLine = .allocate(byteCount: Self.dateLineByteCount, alignment: 8)
    }

    deinit { unsafe dateLine.deallocate() }

    /// The slots for one head; a head that is delivered while another one is has slots of its own.
    func takeSlots() -> FieldSlots {
        if areSlotsLent { return FieldSlots(capacity: Self.slotCapacity) }
        areSlotsLent = true
        return slots
    }

    func giveBack(_ slots: FieldSlots) {
        if slots === self.slots { areSlotsLent = false }
    }

    /// The line of `Date`; empty where the time of day is not known (RFC 9110 §6.6.1).
    ///
    /// Made once a second at most, when an answer wants it: an idle server does nothing.
    ///
    /// - Parameter now: The reactor's time.
    /// - Returns: The line, valid until the next call.
    @inline(__always)
    func dateLine(at now: MonotonicInstant) -> UnsafeRawBufferPointer {
        if now >= dateEnd { makeDateLine(at: now) }
        return unsafe UnsafeRawBufferPointer(start: dateLine, count: dateByteCount)
    }

    @inline(never)
    private func makeDateLine(at now: MonotonicInstant) {
        guard let time = try? reactor.wallTime() else {
            dateByteCount = 0
            dateEnd = now.advanced(by: .seconds(1))
            return
        }
        var encoder = unsafe AnswerEncoder(dateLine)
        encoder.put("Date: ")
        encoder.put(HTTPDate(seconds: time.seconds).bytes.span)
        encoder.put("\r\n")
        dateByteCount = encoder.byteCount
        dateEnd = now.advanced(by: .nanoseconds(1_000_000_000 - Int64(time.nanoseconds)))
    }
}
