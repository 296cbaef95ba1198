// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

#if TLS

internal import TorsionCore

/// How many messages for TLS itself a peer may send: new keys, tickets.
///
/// Each costs a computation, and none of them is the program's.
struct MessageRate {
    private static let burst = 100
    private static let perSecond = 100
    private var count = 0
    private var since = MonotonicInstant(nanoseconds: 0)

    mutating func admitsOne(at now: MonotonicInstant) -> Bool {
        if count == 0 { since = now }
        count += 1
        let second: Duration = .seconds(1)
        if count > Self.burst, since.advanced(by: second) <= now {
            count = 1
            since = now
        }
        return count <= Self.burst
    }
}

/// How long the records of large writes are.
///
/// A peer opens a record when all of it has come. So what begins, or goes on after a rest, is cut into
/// what fits one segment, while the kernel's window is small; then into records as long as may be.
struct RecordPace {
    /// RFC 8446 §5.1.
    static let longest = 16 * 1024
    /// With what TLS and TCP add it fits a segment of Ethernet, also over IPv6 with options.
    private static let short = 1_369
    /// Writes below this are one record each.
    static let large = 4 * 1024
    private static let startByteCount = 64 * 1024
    private static let rest: Duration = .seconds(1)

    private var sentByteCount = 0
    private var latest = MonotonicInstant(nanoseconds: 0)

    /// How long those of a large write may be.
    mutating func limit(forWriting byteCount: Int, at now: MonotonicInstant) -> Int {
        if latest.advanced(by: Self.rest) <= now { sentByteCount = 0 }
        latest = now
        guard sentByteCount < Self.startByteCount else { return Self.longest }
        sentByteCount += byteCount
        return Self.short
    }
}

#endif
