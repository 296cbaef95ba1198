// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

internal import TorsionCore

/// What all connections of one reactor share, so that a request costs none of them any memory.
///
/// What each request needs is in a block of its own that holds no references: reading a stored reference
/// would retain it, several times for each request.
@safe
final class HTTPShared: ReactorCompanion {
    /// The most fields that any server may allow.
    static let slotCapacity = 200

    let reactor: Reactor
    let block: UnsafeMutablePointer<Block>

    /// What each request needs.
    struct Block {
        let names: FieldNameTable
        let statusLines: StatusLines
        let recentHost: UnsafeMutablePointer<RecentHost>
        /// For one head; a head that is delivered while another one is has slots of its own.
        let slots: UnsafeMutablePointer<FieldSlot>
        var areSlotsLent = false
        /// The time as of the present event.
        var now = MonotonicInstant(nanoseconds: 0)
        /// `Date: `, the date and the line's end, in whole words of 16 bytes.
        let dateLine: UnsafeMutableRawPointer
        var dateByteCount = 0
        /// Until when the line is right.
        var dateEnd = MonotonicInstant(nanoseconds: 0)
    }

    init(on reactor: Reactor) {
        self.reactor = reactor
        unsafe block = .allocate(capacity: 1)
        unsafe block.initialize(
            to: Block(
                names: .shared, statusLines: .shared, recentHost: .allocate(capacity: 1),
                slots: .allocate(capacity: Self.slotCapacity),
                dateLine: .allocate(byteCount: Self.dateLineByteCount, alignment: 16)))
        unsafe block.pointee.recentHost.initialize(to: RecentHost())
        unsafe block.pointee.dateLine.initializeMemory(
            as: UInt8.self, repeating: 0, count: Self.dateLineByteCount)
    }

    deinit {
        unsafe block.pointee.recentHost.deallocate()
        unsafe block.pointee.slots.deallocate()
        unsafe block.pointee.dateLine.deallocate()
        unsafe block.deallocate()
    }

    private static let dateLineByteCount = 48

    /// Makes the line of `Date` anew; it is empty where the time of day is not known (RFC 9110 §6.6.1).
    ///
    /// Once a second at most, when an answer wants it: an idle server does nothing.
    @inline(never)
    func makeDateLine() {
        let now = unsafe block.pointee.now
        guard let time = try? reactor.wallTime() else {
            unsafe block.pointee.dateByteCount = 0
            unsafe block.pointee.dateEnd = now.advanced(by: .seconds(1))
            return
        }
        var encoder = unsafe AnswerEncoder(block.pointee.dateLine)
        encoder.put("Date: ")
        encoder.put(HTTPDate(seconds: time.seconds).bytes.span)
        encoder.put("\r\n")
        unsafe block.pointee.dateByteCount = encoder.byteCount
        unsafe block.pointee.dateEnd = now.advanced(
            by: .nanoseconds(1_000_000_000 - Int64(time.nanoseconds)))
    }
}
