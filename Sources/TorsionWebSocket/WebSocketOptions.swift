// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

internal import TorsionCore

/// The limits of a WebSocket's peer, and the options that are offered to it.
///
///     var options = WebSocketOptions()
///     options.messageLimitBytes = 64 * 1024
///     options.subprotocols = ["chat.v2", "chat.v1"]
///
/// A plain value, usable on any thread.
public struct WebSocketOptions: Sendable {
    /// The most bytes of a message: 1 MiB.
    ///
    /// A longer one closes the connection with 1009.
    ///
    /// So much may be held for each connection, when the peer has sent it.
    public var messageLimitBytes = 1024 * 1024

    /// The most bytes of one frame: by default only the message's limit.
    public var frameLimitBytes = Int.max

    /// How long the peer may be silent before it is sent a ping: 30 s.
    ///
    /// `nil` disables pings. After two pings without any sign of life the connection is lost, at
    /// three times this length.
    public var pingInterval: Duration? = .seconds(30)

    /// How long the peer may take to answer a close frame: 5 s.
    ///
    /// Then the connection ends all the
    /// same, unless the peer still takes what is queued for it.
    public var closeTimeout: Duration = .seconds(5)

    /// How long a server may take to answer a client's handshake: 10 s.
    public var handshakeTimeout: Duration = .seconds(10)

    /// Application protocols, the best first.
    ///
    /// A server chooses the first that the client has as well; a
    /// client offers all.
    public var subprotocols: [String] = []

    /// How messages are compressed if the peer agrees: they are not.
    ///
    /// A client offers it, a server accepts it. The limit of a message holds for what it is
    /// uncompressed.
    public var compression: WebSocketCompression?

    /// The defaults.
    public init() {}

    func check() {
        require(
            messageLimitBytes > 0 && frameLimitBytes > 0,
            "WebSocketOptions: the limits are 1 byte or more, not \(messageLimitBytes) and"
                + " \(frameLimitBytes)")
        if let pingInterval {
            require(
                pingInterval > .zero,
                "WebSocketOptions: pingInterval is above zero, or nil, not \(pingInterval)")
        }
        compression?.check()
        require(
            closeTimeout > .zero,
            "WebSocketOptions: closeTimeout is above zero, not \(closeTimeout)")
    }
}
