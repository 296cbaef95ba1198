// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

/// When a transport pauses and resumes its producer, in bytes that the kernel refused.
///
/// Above the high mark the registered producer is paused. Without a producer the transport pauses
/// its own reading instead, since most protocols answer what they read: so an echo whose client
/// never reads holds little more than the high mark.
///
/// Two such ends can wait for each other without end: a client that writes megabytes in one go to
/// an echo stops reading, so that the echo cannot write and stops reading as well. A protocol that
/// writes more than the kernel takes before it reads the answers therefore registers a
/// ``PushProducer``, or ends its direction by ``StreamTransport/loseWriteConnection()``: its
/// reading is not throttled then. ``ReactorStatistics/fullConnections`` shows connections that
/// stand so; a deadline of the protocol's own, by `callLater`, ends one.
public struct Watermarks: Hashable, Sendable {
    /// The producer is resumed when the queue falls to this.
    public let low: Int
    /// The producer is paused when the queue passes this.
    public let high: Int
    /// A write that finds more than this queued aborts the connection: the protocol ignored the
    /// pause.
    public let limit: Int

    /// Sets all three, in bytes.
    ///
    /// - Parameters:
    ///   - low: A paused producer is resumed at this many queued bytes or fewer.
    ///   - high: The producer is paused above this many queued bytes.
    ///   - limit: A write that finds more queued than this aborts the connection.
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
