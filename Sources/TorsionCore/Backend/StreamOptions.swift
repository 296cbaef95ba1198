// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

/// How a stream socket is set up, and how its transport behaves.
///
/// The defaults suit a server that nobody configured.
public struct StreamOptions: Hashable, Sendable {
    /// Sends small segments at once: `TCP_NODELAY`.
    ///
    /// On, since writes are gathered anyway.
    public var noDelay = true

    /// Probes a silent peer: `SO_KEEPALIVE`.
    ///
    /// Nil, the default, sends no probes.
    public var keepAlive: KeepAlive?

    /// The kernel's receive buffer in bytes: `SO_RCVBUF`.
    ///
    /// Nil leaves it to the kernel.
    public var receiveBufferBytes: Int?

    /// The kernel's send buffer in bytes: `SO_SNDBUF`.
    ///
    /// Nil leaves it to the kernel.
    public var sendBufferBytes: Int?

    /// Lets several sockets listen on one port, among which the kernel spreads clients:
    /// `SO_REUSEPORT`.
    ///
    /// A `ReactorGroup` sets it.
    public var reusePort = false

    /// How many clients may wait to be accepted; the kernel caps it at `net.core.somaxconn`.
    ///
    /// A short queue loses the last packet of a handshake under load, and the client waits a
    /// second to send it again: so the default is the longest that the kernel allows.
    public var backlog = 65_535

    /// Where a connecting socket is bound.
    ///
    /// Nil leaves it to the kernel.
    public var bindAddress: SocketAddress?

    /// The access mode of a listening UNIX socket's file, set before anyone can connect.
    public var unixMode: UInt16?

    /// Whether an IPv6 socket leaves IPv4 alone: `IPV6_V6ONLY`.
    ///
    /// On, so that one program can listen on both.
    public var ipv6Only = true

    /// When a transport pauses and resumes its producer, and when it gives up.
    public var watermarks = Watermarks()

    /// How long a closing connection may make no progress before it is aborted.
    ///
    /// Progress is the peer taking bytes that were queued; the wait for the peer's own end, after
    /// everything left, is bounded by the same time once.
    public var closeTimeout: Duration = .seconds(30)

    /// How long one attempt to connect may take.
    public var connectTimeout: Duration = .seconds(30)

    /// The defaults.
    public init() {}

    /// When a silent peer is probed and given up: `tcp(7)`.
    public struct KeepAlive: Sendable, Hashable {
        /// The longest time that the kernel takes, `MAX_TCP_KEEPIDLE`; what is longer becomes it.
        static let longest = Duration.seconds(32_767)

        /// Silence before the first probe: `TCP_KEEPIDLE`, whole seconds, from 1 to 32,767.
        public var idle: Duration
        /// Time between probes: `TCP_KEEPINTVL`, whole seconds, from 1 to 32,767.
        public var interval: Duration
        /// Unanswered probes that end the connection: `TCP_KEEPCNT`, from 1 to 127.
        public var count: Int

        /// A probe after `idle` of silence, then every `interval`, `count` times.
        public init(
            idle: Duration = .seconds(60), interval: Duration = .seconds(10), count: Int = 6
        ) {
            self.idle = idle
            self.interval = interval
            self.count = count
        }
    }
}
