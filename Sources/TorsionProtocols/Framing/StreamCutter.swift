// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

internal import TorsionCore

/// What cuts a stream into frames, lines or others.
protocol StreamCutter: AnyObject {
    var mode: CuttingMode { get set }
    var passage: Passage { get set }
    var partialByteCount: Int { get }
    var shownCount: Int { get }

    func takePartial() -> Bytes
    func decode(_ bytes: RawSpan, _ frame: (RawSpan) throws -> Bool) throws -> Int
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
    /// A request, from the first byte of a frame until its end.
    var phase: ConnectionPhase {
        mode.isRaw || partialByteCount == 0 ? .open : .request(number: shownCount)
    }

    /// Cuts what arrived, until the protocol pauses, closes or switches.
    ///
    /// Inside one of the callbacks it only notes the bytes, which are cut when that has returned.
    @inline(__always)
    func cut(
        _ bytes: RawSpan, from transport: any StreamTransport, to frame: (RawSpan) throws -> Void,
        orRaw raw: (RawSpan) throws -> Void
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
            let used = try show(piece.span, from: transport, to: frame, orRaw: raw)
            piece = passage.next(afterUsing: used, of: piece)
            guard transport.isDelivering else { return giveBack(piece, to: transport) }
        } while !piece.isEmpty
    }

    /// Shows the frames at the beginning of some bytes, or the raw bytes there.
    ///
    /// - Returns: How many bytes were used.
    @inline(__always)
    private func show(
        _ bytes: RawSpan, from transport: any StreamTransport, to frame: (RawSpan) throws -> Void,
        orRaw raw: (RawSpan) throws -> Void
    ) throws -> Int {
        if mode.isRaw {
            let count = mode.takeRaw(of: bytes.byteCount)
            try raw(bytes.extracting(0..<count))
            return count
        }
        return try decode(bytes) {
            try frame($0)
            return transport.isDelivering && !passage.hasHandedBack
        }
    }

    /// Leaves the rest to the transport, which delivers it when it may.
    private func giveBack(_ piece: Passage.Piece, to transport: any StreamTransport) {
        for piece in [piece] + passage.takeLater() where !piece.isEmpty {
            transport.unread(piece.span)
        }
    }
}
