// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

public import TorsionCore

extension Consumer {
    /// Writes one frame: what the peer's ``FrameDecoder`` of the same format shows.
    ///
    /// In a format of ``FrameFormat/header(byteCount:length:at:counting:limitBytes:)`` the frame
    /// begins with its header, in which the length is filled in.
    ///
    ///     try transport.write(frame: "hello", as: .netstring)     // 5:hello,
    ///
    /// - Parameters:
    ///   - frame: Borrowed for the call. One without its header traps.
    ///   - format: The one that the peer decodes.
    /// - Throws: ``FrameError/tooLong(byteCount:limitBytes:)`` if the payload is longer than the
    ///   format allows; then not a byte was written.
    public func write(frame: RawSpan, as format: FrameFormat) throws(FrameError) {
        let start = try writeHeader(of: frame, as: format)
        write(frame.extracting(start..<frame.byteCount))
        writeTrailer(of: format)
    }

    /// Writes one frame, a long one without a copy.
    ///
    /// - Parameters:
    ///   - frame: Shared, without a copy if it is long.
    ///   - format: The one that the peer decodes.
    /// - Throws: As ``write(frame:as:)-(RawSpan,_)``.
    public func write(frame: Bytes, as format: FrameFormat) throws(FrameError) {
        let start = try writeHeader(of: frame.span, as: format)
        write(frame[start...])
        writeTrailer(of: format)
    }

    /// Writes one frame of an array's bytes.
    ///
    /// - Parameters:
    ///   - frame: Copied.
    ///   - format: The one that the peer decodes.
    /// - Throws: As ``write(frame:as:)-(RawSpan,_)``.
    public func write(frame: [UInt8], as format: FrameFormat) throws(FrameError) {
        try unsafe write(frame: frame.span.bytes, as: format)
    }

    /// Writes one frame of the UTF-8 of a text.
    ///
    /// - Parameters:
    ///   - frame: Written as UTF-8.
    ///   - format: The one that the peer decodes.
    /// - Throws: As ``write(frame:as:)-(RawSpan,_)``.
    public func write(frame: String, as format: FrameFormat) throws(FrameError) {
        var frame = frame
        frame.makeContiguousUTF8()
        try unsafe write(frame: frame.utf8Span.span.bytes, as: format)
    }

    /// Writes what comes before the payload.
    ///
    /// - Returns: Where in the frame the payload begins.
    private func writeHeader(
        of frame: RawSpan, as format: FrameFormat
    ) throws(FrameError) -> Int {
        let payload = try format.payloadByteCount(ofFrame: frame.byteCount)
        switch format.layout {
        case .netstring:
            write("\(payload):")
            return 0
        case .varint:
            write { $0.writeVarint(UInt64(payload)) }
            return 0
        case .fixedHeader(let header):
            let length = UInt64(payload) + UInt64(header.countedByteCount)
            guard header.isShown else {
                header.length.withBytes(of: length) { write($0) }
                return 0
            }
            write(frame.extracting(0..<header.lengthOffset))
            header.length.withBytes(of: length) { write($0) }
            let end = header.lengthOffset + header.length.byteCount
            write(frame.extracting(end..<header.byteCount))
            return header.byteCount
        }
    }

    private func writeTrailer(of format: FrameFormat) {
        if case .netstring = format.layout { write(",") }
    }
}
