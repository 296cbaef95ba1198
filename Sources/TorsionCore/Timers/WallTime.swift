// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

/// A point in the time of day, UTC.
///
/// For what the outside world dates: certificates, HTTP's `Date`, logs. It may jump, so do not
/// measure by it; use ``MonotonicInstant``. A plain value, usable on any thread.
///
/// - SeeAlso: `clock_gettime(2)`, `CLOCK_REALTIME`.
public struct WallTime: Hashable, Comparable, Sendable {
    /// Whole seconds since 1970-01-01T00:00:00Z, without leap seconds; negative before.
    public var seconds: Int64
    /// The rest, from 0 to 999,999,999.
    public var nanoseconds: Int32

    /// Makes a point in time.
    ///
    /// - Parameters:
    ///   - seconds: Since 1970-01-01T00:00:00Z.
    ///   - nanoseconds: From 0 to 999,999,999.
    public init(seconds: Int64, nanoseconds: Int32 = 0) {
        self.seconds = seconds
        self.nanoseconds = nanoseconds
    }

    /// Earlier is less.
    ///
    /// - Parameters:
    ///   - left: A point in time.
    ///   - right: Another point in time.
    /// - Returns: Whether `left` is earlier.
    public static func < (left: WallTime, right: WallTime) -> Bool {
        (left.seconds, left.nanoseconds) < (right.seconds, right.nanoseconds)
    }
}

extension WallTime: CustomStringConvertible {
    /// RFC 3339 with milliseconds, rounded down: `2026-11-30T08:05:09.250Z`.
    public var description: String {
        let (days, second) = seconds.quotientAndRemainderDown(dividingBy: 86_400)
        let (year, month, day) = CivilDate.date(ofDay: days)
        func digits(_ number: Int64, _ count: Int = 2) -> String {
            let text = String(number)
            return String(repeating: "0", count: max(0, count - text.utf8.count)) + text
        }
        let date = "\(digits(year, 4))-\(digits(month))-\(digits(day))"
        let time = "\(digits(second / 3_600)):\(digits(second / 60 % 60)):\(digits(second % 60))"
        return "\(date)T\(time).\(digits(Int64(nanoseconds) / 1_000_000, 3))Z"
    }
}

extension ReactorServices {
    /// Fails: services of a test need not know the time of day.
    public func wallTime() throws(IOError) -> WallTime {
        throw IOError(.start, function: "", code: .notSupported, subject: "the time of day")
    }

    /// Fails: services of a test need not have a generator.
    ///
    /// - Parameter count: Ignored.
    /// - Returns: Does not return; it throws.
    /// - Throws: ``IOError`` of code ``ErrorCode/notSupported``.
    public func randomBytes(count: Int) throws(IOError) -> [UInt8] {
        throw IOError(.start, function: "", code: .notSupported, subject: "random bytes")
    }
}

extension Reactor {
    /// The time of day: virtual in a simulation, else the machine's.
    ///
    /// - Throws: ``IOError`` if the reactor's services do not know it.
    public func wallTime() throws(IOError) -> WallTime {
        try startedServices(for: .start).wallTime()
    }

    /// Unpredictable bytes; those of a simulation follow from its seed.
    ///
    /// - Parameter count: How many, 0 or more.
    /// - Returns: So many bytes.
    /// - Throws: ``IOError`` if the reactor's services do not make them, or the kernel refuses
    ///   them.
    public func randomBytes(count: Int) throws(IOError) -> [UInt8] {
        try startedServices(for: .start).randomBytes(count: count)
    }
}
