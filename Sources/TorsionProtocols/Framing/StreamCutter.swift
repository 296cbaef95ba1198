// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

internal import TorsionCore

/// What cuts a stream into frames, lines or others.
protocol StreamCutter: AnyObject {
    var isRaw: Bool { get }
    var partialByteCount: Int { get }
    var shownCount: Int { get }

    func takePartial() -> Bytes
    func decode(_ bytes: RawSpan, _ frame: (RawSpan) throws -> Bool) throws -> Int
}

extension StreamCutter {
    /// A request, from the first byte of a frame until its end.
    var phase: ConnectionPhase {
        isRaw || partialByteCount == 0 ? .open : .request(number: shownCount)
    }

    /// Cuts what arrived, until the protocol pauses, closes, switches, or wants the rest raw.
    @inline(__always)
    func cut(
        _ bytes: RawSpan, from transport: any StreamTransport, to frame: (RawSpan) throws -> Void,
        orRaw raw: (RawSpan) throws -> Void
    ) throws {
        if isRaw, partialByteCount > 0 {
            // The raw mode began between two reads: what is held of a frame belongs to it.
            var whole = [UInt8](takePartial().span)
            whole += bytes
            return unsafe try raw(whole.span.bytes)
        }
        let used = try decode(bytes) {
            try frame($0)
            return transport.isDelivering
        }
        guard used < bytes.byteCount else { return }
        let rest = bytes.extracting(used..<bytes.byteCount)
        if transport.isDelivering { try raw(rest) } else { transport.unread(rest) }
    }
}
