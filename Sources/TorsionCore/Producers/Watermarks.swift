// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

/// When a transport pauses and resumes whoever writes to it, in bytes that the kernel refused.
public struct Watermarks: Hashable, Sendable {
    /// The producer is resumed when the queue falls to this.
    public let low: Int
    /// The producer is paused when the queue passes this.
    public let high: Int
    /// A write that finds more than this queued aborts the connection: nobody listened.
    public let limit: Int

    /// Sets all three, in bytes.
    ///
    /// - Precondition: `0 <= low < high <= limit`.
    public init(low: Int = 16 * 1024, high: Int = 64 * 1024, limit: Int = 16 * 1024 * 1024) {
        require(
            0 <= low && low < high,
            "Watermarks: need 0 <= low < high, got low \(low) and high \(high)")
        require(
            high <= limit, "Watermarks: need high <= limit, got high \(high) and limit \(limit)")
        self.low = low
        self.high = high
        self.limit = limit
    }
}
