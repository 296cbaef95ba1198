// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

/// The common part of ``LineDecoder``, ``FrameDecoder`` and ``MessageBuffer``: they cut a stream of
/// bytes into frames, or lines, or messages, and leave some of it raw.
///
/// You make one of those three; this class cannot be made by itself.
///
///     let lines = LineDecoder()
///     lines.expect(rawBytes: 100)
///     print(lines.isRaw)   // true
public class StreamDecoder {
    final var mode = CuttingMode.frames
    final var passage = Passage()

    /// How many frames were shown, the one that is being shown included.
    public internal(set) final var shownCount = 0

    init() {}

    /// Whether what follows is not frames: it goes to `rawDataReceived` as it comes.
    ///
    /// You may set it inside the callbacks of the protocol: what is behind the bytes of that call is cut
    /// accordingly. If you set it elsewhere, the beginning of a frame that is held is raw too:
    /// `takePartial()` takes it out. If you know how many raw bytes follow, use ``expect(rawBytes:)``.
    public final var isRaw: Bool {
        get { mode.isRaw }
        set { mode = newValue ? .raw : .frames }
    }

    /// How many raw bytes come before the next frame, those that `rawDataReceived` is called with
    /// not counted: 0 while frames are cut, nil if ``isRaw`` was set.
    public final var expectedRawByteCount: Int? { mode.expectedRawByteCount }

    /// Delivers the next `count` bytes to `rawDataReceived`, then cuts frames again.
    ///
    /// The bytes arrive in as many calls as the network makes of them, and ``isRaw`` is false in the
    /// last one already:
    ///
    ///     func lineReceived(_ line: RawSpan, from transport: any StreamTransport) {
    ///         lines.expect(rawBytes: bodyByteCount(of: line))
    ///         answerIfComplete(transport)
    ///     }
    ///
    ///     func rawDataReceived(_ bytes: RawSpan, from transport: any StreamTransport) {
    ///         body += bytes
    ///         answerIfComplete(transport)
    ///     }
    ///
    ///     func answerIfComplete(_ transport: any StreamTransport) {
    ///         if !lines.isRaw { transport.write("\(body.count) bytes\r\n") }
    ///     }
    ///
    /// Call it where you may set ``isRaw``. It replaces an earlier expectation. If you call
    /// `decode(_:_:)` yourself, you take the raw bytes yourself, too, and call this again with how
    /// many are left.
    ///
    /// - Parameter count: 0 or more; with 0 the next frame follows and `rawDataReceived` is not
    ///   called. A negative count traps: check a number that a peer has sent.
    public final func expect(rawBytes count: Int) { mode = .expecting(rawBytes: count) }
}
