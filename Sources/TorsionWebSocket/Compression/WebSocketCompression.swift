// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

internal import TorsionCore

/// How messages are compressed, where the peer agrees: permessage-deflate, RFC 7692.
///
///     var options = WebSocketOptions()
///     options.compression = WebSocketCompression()
///
/// It pays for long texts on slow links, and costs processor time for each message. Compressing a
/// secret together with text of an attacker lets an observer of the lengths guess the secret: leave
/// it off there. Needs the trait `Zlib` of the package, and zlib. A plain value, usable on any
/// thread.
public struct WebSocketCompression: Hashable, Sendable {
    /// Whether what this side sends may refer to earlier messages: `false`.
    ///
    /// Short messages that are alike become much shorter by it. It costs 270 KiB for each connection,
    /// where otherwise all connections of a reactor share as much, and a broadcast goes uncompressed.
    /// A peer can forbid it.
    public var keepsContext = false

    /// Whether what the peer sends may refer to earlier messages: `false`.
    ///
    /// It costs 40 KiB for each connection that sends compressed messages.
    public var peerKeepsContext = false

    /// Messages of fewer bytes are sent as they are: 64.
    ///
    /// So is a message that compression does not make shorter, unless a context is kept. With 0
    /// each message is compressed, whatever becomes of it.
    public var minimumByteCount = 64

    #if Zlib
    /// The defaults.
    public init() {}
    #else
    /// Compression, which this build is without: turn the trait on.
    @available(
        *, unavailable,
        message: "depend on Torsion with the trait: .package(…, traits: [\"Zlib\"])"
    )
    public init() { fatalError("built without the trait Zlib") }
    #endif

    func check() {
        require(
            minimumByteCount >= 0,
            "WebSocketCompression: minimumByteCount is not negative, as \(minimumByteCount) is")
    }
}
