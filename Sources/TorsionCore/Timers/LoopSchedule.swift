// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

/// When a ``LoopingCall`` is due: at its start plus whole intervals.
///
/// Pure: the time is a value.
struct LoopSchedule {
    /// What the intervals are counted from.
    private var start: MonotonicInstant
    /// Nanoseconds; with 0 every turn is due.
    private let interval: UInt64
    /// The interval of the latest call, nil if the start itself is still to be called.
    private var latest: UInt64?
    /// How many intervals passed without a call of their own.
    private(set) var skippedCount = 0

    init(start: MonotonicInstant, interval: Duration, callsAtStart: Bool) {
        self.start = start
        self.interval = MonotonicInstant(nanoseconds: 0).advanced(by: interval).nanoseconds
        latest = callsAtStart ? nil : 0
    }

    /// A call is made now.
    ///
    /// - Returns: How many intervals have begun since the call before: 1, and more if some were
    ///   skipped.
    mutating func take(at now: MonotonicInstant) -> Int {
        let current = index(at: now)
        defer { latest = current }
        guard interval > 0 else { return 1 }
        // Never 0: a call whose schedule was reset inside it has no interval of its own.
        let count =
            latest.map { max(1, Int(clamping: current - min($0, current))) }
            ?? Int(clamping: current) + 1
        skippedCount += count - 1
        return count
    }

    /// The begin of the next interval, later than `now`.
    func next(after now: MonotonicInstant) -> MonotonicInstant {
        guard interval > 0 else { return now }
        let (offset, overflow) = (index(at: now) + 1).multipliedReportingOverflow(by: interval)
        let (sum, isFarther) = start.nanoseconds.addingReportingOverflow(offset)
        return overflow || isFarther ? .distantFuture : MonotonicInstant(nanoseconds: sum)
    }

    /// Counts from now on.
    mutating func reset(at now: MonotonicInstant) {
        start = now
        latest = 0
    }

    private func index(at now: MonotonicInstant) -> UInt64 {
        guard interval > 0, now > start else { return 0 }
        return (now.nanoseconds - start.nanoseconds) / interval
    }
}
