// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

internal import TorsionCore

/// What cuts a stream into frames, lines or messages.
protocol StreamCutter: AnyObject {
    var mode: CuttingMode { get set }
    var passage: Passage { get set }
    var partialByteCount: Int { get }
    var shownCount: Int { get }
    /// Whether no frame has begun.
    var isBetweenFrames: Bool { get }

    func takePartial() -> Bytes
}

/// What the bytes are that come next.
enum CuttingMode {
    case frames
    case raw
    /// So many raw bytes, then frames; at least one.
    case rawBytes(Int)

    var isRaw: Bool { if case .frames = self { false } else { true } }

    /// How many raw bytes come before the next frame; nil if there is no such number.
    var expectedRawByteCount: Int? {
        switch self {
        case .frames: 0
        case .raw: nil
        case .rawBytes(let count): count
        }
    }

    /// So many raw bytes come before the next frame.
    static func expecting(rawBytes count: Int) -> CuttingMode {
        require(count >= 0, "expect(rawBytes:): need 0 or more, got \(count)")
        return count > 0 ? .rawBytes(count) : .frames
    }

    /// Takes the raw bytes at the beginning of so many.
    ///
    /// - Returns: How many are raw.
    mutating func takeRaw(of byteCount: Int) -> Int {
        guard case .rawBytes(let expected) = self else { return byteCount }
        let taken = min(expected, byteCount)
        self = .expecting(rawBytes: expected - taken)
        return taken
    }
}

extension StreamCutter {
    var isBetweenFrames: Bool { partialByteCount == 0 }

    /// A request, from the first byte of a frame until its end.
    var phase: ConnectionPhase {
        mode.isRaw || isBetweenFrames ? .open : .request(number: shownCount)
    }

    /// Whether the next frame may be shown to the protocol.
    @inline(__always)
    func goesOn(_ transport: any StreamTransport) -> Bool {
        transport.isDelivering && !passage.hasHandedBack
    }

    /// Cuts what arrived, until the protocol pauses, closes or switches.
    ///
    /// Inside one of the callbacks it only notes the bytes, which are cut when that has returned.
    ///
    /// - Parameters:
    ///   - bytes: Borrowed for the call.
    ///   - transport: What brought them.
    ///   - frames: Shows the frames at the beginning of some bytes, as long as it ``goesOn(_:)``, and
    ///     returns how many bytes were used.
    ///   - raw: Shows raw bytes.
    /// - Throws: What these throw.
    @inline(__always)
    func cut(
        _ bytes: RawSpan, from transport: any StreamTransport,
        frames: (RawSpan) throws -> Int, orRaw raw: (RawSpan) throws -> Void
    ) throws {
        guard bytes.byteCount > 0 else { return }
        guard !passage.isOpen else { return passage.handBack(bytes) }
        passage.open()
        defer { passage.close() }
        var piece = Passage.Piece(bytes)
        repeat {
            if mode.isRaw, partialByteCount > 0 {
                // The raw mode began between two reads: what is held of a frame belongs to it.
                passage.postpone(piece)
                piece = Passage.Piece(takePartial())
            }
            passage.begin(piece)
            let used = try show(piece.span, frames, orRaw: raw)
            piece = passage.next(afterUsing: used, of: piece)
            guard transport.isDelivering else { return giveBack(piece, to: transport) }
        } while !piece.isEmpty
    }

    /// Shows the frames at the beginning of some bytes, or the raw bytes there.
    ///
    /// - Returns: How many bytes were used.
    @inline(__always)
    private func show(
        _ bytes: RawSpan, _ frames: (RawSpan) throws -> Int, orRaw raw: (RawSpan) throws -> Void
    ) throws -> Int {
        guard mode.isRaw else { return try frames(bytes) }
        let count = mode.takeRaw(of: bytes.byteCount)
        try raw(bytes.extracting(0..<count))
        return count
    }

    /// Leaves the rest to the transport, which delivers it when it may.
    private func giveBack(_ piece: Passage.Piece, to transport: any StreamTransport) {
        for piece in [piece] + passage.takeLater() where !piece.isEmpty {
            transport.unread(piece.span)
        }
    }
}
