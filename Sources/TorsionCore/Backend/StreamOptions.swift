// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

/// How a stream socket is set up, and how its transport behaves.
///
/// The defaults suit a server without configuration.
public struct StreamOptions: Hashable, Sendable {
    /// Sends small segments at once: `TCP_NODELAY`.
    ///
    /// On, since writes are coalesced anyway.
    public var noDelay = true

    /// How a peer is found that is gone without a word, as a machine is that lost its power or its
    /// network: `SO_KEEPALIVE` and `TCP_USER_TIMEOUT`.
    ///
    /// On by default, since only a probe finds it: an idle connection lives as long as its process.
    /// Such a peer is given up within five minutes, with `ETIMEDOUT`. Go's standard library probes
    /// by default too, and OpenSSH does; nginx does not, and has a deadline for whatever it waits
    /// for instead. `nil` disables both options.
    public var keepAlive: KeepAlive? = KeepAlive()

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
    /// With port 0 the kernel chooses one when it knows the destination, so that connections to
    /// different destinations can share it (`IP_BIND_ADDRESS_NO_PORT`). Nil leaves it to the kernel.
    public var bindAddress: SocketAddress?

    /// The access mode of a listening UNIX socket's file, set before anyone can connect.
    public var unixMode: UInt16?

    /// Whether an IPv6 socket leaves IPv4 alone: `IPV6_V6ONLY`.
    ///
    /// On, so that one program can listen on both.
    public var ipv6Only = true

    /// When a transport pauses and resumes its producer, and when it gives up.
    public var watermarks = Watermarks()

    /// How long a connection that is being closed may stall before it is aborted, while it has
    /// bytes queued or waits for its producer.
    ///
    /// Progress is that the kernel takes bytes, or that the peer acknowledges some; it is looked for
    /// four times within this time. When the kernel has everything the connection is over.
    public var closeTimeout: Duration = .seconds(30)

    /// How long one attempt to connect may take.
    ///
    /// A UNIX server whose backlog is full is tried again until then, as TCP does by itself.
    public var connectTimeout: Duration = .seconds(30)

    /// How long the filters of a connection may take to agree with the peer: TLS, a proxy's header.
    ///
    /// Then the connect fails, or the client is given up, with
    /// ``ConnectionLoss/deadlinePassed(_:)`` of ``ConnectionLoss/Deadline/handshaking``.
    public var handshakeTimeout: Duration = .seconds(10)

    /// How many clients of one port may be agreeing on terms at a time.
    ///
    /// When there are so many, further ones wait in the kernel's queue: so a crowd that connects
    /// and stays silent holds a bounded number of descriptors and buffers.
    public var handshakeLimit = 1_024

    /// The defaults.
    public init() {}

    /// When a silent peer is probed, and when it is given up: `tcp(7)`.
    ///
    /// While the connection is silent, the kernel sends a probe after `idle` and every `interval`
    /// from then on, and gives the peer up when `count` of them were not answered. Unacknowledged
    /// data is itself a probe; the kernel gives up after the same time in all, ``limit``.
    ///
    /// - Note: If the peer's program does not read for that long, the kernel counts the peer as
    ///   gone too, although it answers. If your peers pause for longer while you have something to
    ///   send, choose longer figures, or `nil`.
    public struct KeepAlive: Sendable, Hashable {
        /// The longest time that the kernel takes, `MAX_TCP_KEEPIDLE`; what is longer becomes it.
        static let longest = Duration.seconds(32_767)

        /// Silence before the first probe: `TCP_KEEPIDLE`, whole seconds, from 1 to 32,767.
        public var idle: Duration
        /// Time between probes: `TCP_KEEPINTVL`, whole seconds, from 1 to 32,767.
        public var interval: Duration
        /// Unanswered probes that end the connection: `TCP_KEEPCNT`, from 1 to 127.
        public var count: Int

        /// When a peer that is gone is given up: `idle` and `count` times `interval`.
        ///
        /// Also how long output may stay unacknowledged: `TCP_USER_TIMEOUT`.
        public var limit: Duration { idle + interval * count }

        /// A probe after `idle` of silence, then every `interval`, `count` times.
        ///
        /// The defaults give a peer up after five minutes, and keep the translators of addresses on
        /// the way from forgetting the connection, which many do after four.
        ///
        /// - Parameters:
        ///   - idle: Silence before the first probe.
        ///   - interval: Time between probes. By default as long as `idle`, at most 30 seconds.
        ///   - count: How many probes are not answered.
        public init(
            idle: Duration = .seconds(60), interval: Duration? = nil, count: Int = 8
        ) {
            self.idle = idle
            self.interval = interval ?? min(idle, .seconds(30))
            self.count = count
        }
    }
}
