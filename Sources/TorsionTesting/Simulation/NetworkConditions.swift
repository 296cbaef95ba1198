// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

/// The properties of a simulated network without faults.
public struct NetworkConditions: Sendable {
    /// How long a segment is under way between two hosts.
    public var latency: Duration = .microseconds(500)

    /// How long within one host.
    public var loopbackLatency: Duration = .microseconds(10)

    /// The most that a delayed segment is late; how late is drawn.
    public var spread: Duration = .milliseconds(200)

    /// Bytes a second in each direction of a connection; nil is without limit.
    public var bandwidth: Int?

    /// The size of a connection's send buffer, unless `StreamOptions.sendBufferBytes` says
    /// otherwise.
    public var sendBufferBytes = 256 * 1024

    /// The size of a connection's receive buffer, unless `StreamOptions.receiveBufferBytes` says
    /// otherwise.
    public var receiveBufferBytes = 256 * 1024

    /// The most that leaves in one segment.
    public var segmentBytes = 64 * 1024

    /// The time that one turn of a reactor takes, so that a program which is never idle does not
    /// stop the clock.
    public var turnCost: Duration = .microseconds(1)

    /// The longest that a host stalls; how long is drawn.
    public var longestStall: Duration = .seconds(5)

    /// The longest that a partition lasts; how long is drawn.
    public var longestPartition: Duration = .seconds(20)

    /// The defaults.
    public init() {}
}

extension Duration {
    /// Whole nanoseconds; the durations of a simulation fit.
    var wholeNanoseconds: UInt64 {
        let (seconds, attoseconds) = components
        return UInt64(seconds) * 1_000_000_000 + UInt64(attoseconds / 1_000_000_000)
    }

    /// From a count of nanoseconds.
    init(nanosecondCount: UInt64) { self = .nanoseconds(Int64(nanosecondCount)) }
}
