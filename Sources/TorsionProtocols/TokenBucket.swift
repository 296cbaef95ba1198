// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

internal import TorsionCore

/// How many bytes may pass now.
///
/// Pure: the time is told.
/// It fills at its rate up to the burst. What was taken beyond it is a debt that is paid first, so
/// that a piece which cannot be cut passes whole and the mean stays right.
struct TokenBucket {
    /// Bytes per second.
    let rate: Int
    /// What is saved up at most.
    let burst: Int

    /// In billionths of a byte, so that no fraction is lost; negative for a debt.
    private var level: Int128
    private var last: MonotonicInstant

    private static let billion: Int128 = 1_000_000_000

    /// A full bucket.
    init(rate: Int, burst: Int, now: MonotonicInstant) {
        self.rate = rate
        self.burst = burst
        level = Int128(burst) * Self.billion
        last = now
    }

    /// Whole bytes that may pass; zero or less in debt.
    mutating func available(at now: MonotonicInstant) -> Int {
        let passed = now > last ? now.nanoseconds - last.nanoseconds : 0
        last = max(last, now)
        level = min(level + Int128(passed) * Int128(rate), Int128(burst) * Self.billion)
        return Int(level / Self.billion)
    }

    /// Asserts what must hold at any time.
    func checkInvariants() {
        require(
            level <= Int128(burst) * Self.billion, "TokenBucket: more is saved up than its burst")
    }

    /// So many pass.
    mutating func take(_ byteCount: Int) { level -= Int128(byteCount) * Self.billion }

    /// How long until so many may pass, rounded up; the bucket was brought up to date just now.
    func delay(until byteCount: Int) -> Duration {
        let missing = Int128(min(byteCount, burst)) * Self.billion - level
        guard missing > 0 else { return .zero }
        return .nanoseconds(Int64(clamping: (missing + Int128(rate) - 1) / Int128(rate)))
    }
}
