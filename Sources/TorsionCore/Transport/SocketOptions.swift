// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

/// The options of a connection's socket that can be changed while it is open.
///
///     var options = try transport.options
///     options.noDelay = false
///     try transport.setOptions(options)
///
/// A plain value. A UNIX socket has the two buffers alone, and ignores the rest.
///
/// - SeeAlso: ``StreamOptions``, with which sockets begin; `socket(7)`, `tcp(7)`; Twisted
///   `ITCPTransport`.
public struct SocketOptions: Hashable, Sendable {
    /// Sends small segments at once: `TCP_NODELAY`.
    public var noDelay: Bool

    /// How a silent peer is probed; nil if it is not: `SO_KEEPALIVE`, `TCP_USER_TIMEOUT`.
    public var keepAlive: StreamOptions.KeepAlive?

    /// The kernel's receive buffer in bytes, without what the kernel adds for itself: `SO_RCVBUF`.
    ///
    /// If you set it, the kernel stops adapting it. The system's limits change what is asked for.
    public var receiveBufferBytes: Int

    /// The kernel's send buffer in bytes, without what the kernel adds for itself: `SO_SNDBUF`.
    ///
    /// As ``receiveBufferBytes``.
    public var sendBufferBytes: Int

    /// Options, for a backend or a test.
    ///
    /// - Parameters:
    ///   - noDelay: Whether small segments are sent at once.
    ///   - keepAlive: How a silent peer is probed; nil if it is not.
    ///   - receiveBufferBytes: The kernel's receive buffer, 1 or more.
    ///   - sendBufferBytes: The kernel's send buffer, 1 or more.
    public init(
        noDelay: Bool, keepAlive: StreamOptions.KeepAlive?, receiveBufferBytes: Int,
        sendBufferBytes: Int
    ) {
        self.noDelay = noDelay
        self.keepAlive = keepAlive
        self.receiveBufferBytes = receiveBufferBytes
        self.sendBufferBytes = sendBufferBytes
    }
}

extension StreamTransport {
    /// The options of its socket now, those of the socket below its filters.
    ///
    /// Called on the reactor.
    ///
    /// - Throws: ``IOError`` of operation `configure`: ``ErrorCode/notSupported`` over a stream
    ///   that is not a socket, ``ErrorCode/notConnected`` when the connection is lost, or what the
    ///   kernel refused.
    public var options: SocketOptions {
        get throws(IOError) { try openStream(for: .configure).socketOptions() }
    }

    /// Sets those options of its socket that are others now.
    ///
    /// Called on the reactor. Options before the one that the kernel refuses stay set.
    ///
    /// - Parameter options: The value of ``options``, with changes.
    /// - Throws: ``IOError`` of operation `configure`, as ``options``.
    /// - Precondition: The buffers have 1 byte or more.
    public func setOptions(_ options: SocketOptions) throws(IOError) {
        require(
            options.receiveBufferBytes > 0 && options.sendBufferBytes > 0,
            "StreamTransport: need buffers of 1 byte or more, got \(options.receiveBufferBytes) and"
                + " \(options.sendBufferBytes)")
        try openStream(for: .configure).setSocketOptions(options)
    }

    /// Lets `body` use the descriptor below the connection for a call that the engine does not make,
    /// such as `setsockopt(2)` or `tcgetattr(3)`.
    ///
    ///     transport.withDescriptor { setsockopt($0, SOL_SOCKET, SO_MARK, &mark, size) }
    ///
    /// Called on the reactor. The descriptor is the engine's: `body` neither closes, reads nor writes
    /// it, leaves its flags alone, and forgets its number when it returns. Of a pair of descriptors it
    /// is the one that is read.
    ///
    /// - Parameter body: Called once, now, if there is a descriptor.
    /// - Returns: What `body` returns; nil without a descriptor, as in memory and in a simulation, and
    ///   when the connection is lost.
    /// - Throws: What `body` throws.
    /// - SeeAlso: Twisted `ISystemHandle`.
    public func withDescriptor<Result, Failure>(
        _ body: (Int32) throws(Failure) -> Result
    ) throws(Failure) -> Result? {
        reactor.checkThread()
        guard let connection = self as? StreamConnection, !connection.machine.isClosed,
            let descriptor = connection.stream.lentDescriptor
        else { return nil }
        return try body(descriptor)
    }

    private func openStream(
        for operation: IOError.Operation
    ) throws(IOError) -> any BackendStream {
        reactor.checkThread()
        guard let connection = self as? StreamConnection else {
            throw IOError(operation, function: "", code: .notSupported, subject: peerAddress)
        }
        guard !connection.machine.isClosed else {
            throw IOError(operation, function: "", code: .notConnected, subject: peerAddress)
        }
        return connection.stream
    }
}
