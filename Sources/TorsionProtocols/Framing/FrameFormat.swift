// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

internal import TorsionCore

/// How a stream is divided into frames: where each says its length, and how long it may be.
///
/// A plain value, usable on any thread, for both directions: ``FrameDecoder`` reads by it, and
/// `transport.write(frame:as:)` writes by it, under the same limit.
///
///     FrameFormat.netstring                               // 5:hello,
///     FrameFormat.lengthPrefix(.uint16, limitBytes: 512)  // DNS over TCP
///     FrameFormat.header(byteCount: 9, length: .uint24)   // HTTP/2
///
/// - SeeAlso: Twisted `NetstringReceiver`, `Int8StringReceiver`, `Int16StringReceiver`,
///   `Int32StringReceiver`.
public struct FrameFormat: Hashable, Sendable {
    /// The longest payload, in bytes: what is neither the length nor the rest of a header.
    ///
    /// The limit that was given, or the length field's maximum, if that is less.
    public let limitBytes: Int

    let layout: Layout

    enum Layout: Hashable {
        case netstring
        case varint
        case fixedHeader(FixedHeader)
    }

    struct FixedHeader: Hashable {
        let byteCount: Int
        let length: LengthField
        let lengthOffset: Int
        /// How many bytes of the header the length counts besides the payload.
        let countedByteCount: Int
        /// Whether the frame is shown with its header.
        let isShown: Bool
    }

    /// The default limit of a format: 64 KiB.
    public static let defaultLimitBytes = 64 * 1024

    /// The most that may be asked for, so that no sum of lengths overflows: 1 TiB.
    private static let largestLimitBytes = 1 << 40

    private static let largestHeaderByteCount = 1024

    private init(_ layout: Layout, limitBytes: Int, most: UInt64 = .max) {
        require(
            (1...Self.largestLimitBytes).contains(limitBytes),
            "FrameFormat: need a limit from 1 to \(Self.largestLimitBytes), got \(limitBytes)")
        self.layout = layout
        self.limitBytes = Int(min(UInt64(limitBytes), most))
    }

    /// Netstrings of up to 64 KiB: see ``netstring(limitBytes:)``.
    public static let netstring = netstring(limitBytes: defaultLimitBytes)

    /// Netstrings: the length in decimal digits, a colon, the payload, a comma.
    ///
    /// Strict: leading zeros, signs and spaces are refused.
    ///
    /// - Parameter limitBytes: The longest payload.
    /// - Returns: A format that both sides use.
    /// - Precondition: `limitBytes` is from 1 to 2⁴⁰.
    /// - SeeAlso: D. J. Bernstein, "Netstrings", https://cr.yp.to/proto/netstrings.txt
    public static func netstring(limitBytes: Int) -> FrameFormat {
        FrameFormat(.netstring, limitBytes: limitBytes)
    }

    /// A length, then so many bytes, which are the frame.
    ///
    /// - Parameters:
    ///   - length: The length's size and byte order.
    ///   - limitBytes: The longest payload; also bounded by what the field can say.
    /// - Returns: A format that both sides use.
    /// - Precondition: `limitBytes` is from 1 to 2⁴⁰.
    public static func lengthPrefix(
        _ length: LengthField, limitBytes: Int = defaultLimitBytes
    ) -> FrameFormat {
        let header = FixedHeader(
            byteCount: length.byteCount, length: length, lengthOffset: 0, countedByteCount: 0,
            isShown: false)
        return FrameFormat(.fixedHeader(header), limitBytes: limitBytes, most: length.maximum)
    }

    /// A length in groups of seven bits, the lowest first, then so many bytes, which are the frame: as
    /// Protocol Buffers and MQTT have it (unsigned LEB128).
    ///
    ///     FrameFormat.varintPrefix(limitBytes: 1 << 20)
    ///
    /// A length of more than ten groups is refused, and so is any beyond the limit, at the group that
    /// passes it. Written are as few groups as the length needs.
    ///
    /// - Parameter limitBytes: The longest payload, from 1 to 2⁴⁰.
    /// - Returns: The format.
    public static func varintPrefix(limitBytes: Int = defaultLimitBytes) -> FrameFormat {
        FrameFormat(.varint, limitBytes: limitBytes)
    }

    /// A header of a fixed size with a length in it, then the payload; the frame is both.
    ///
    ///     .header(byteCount: 9, length: .uint24)                          // HTTP/2
    ///     .header(byteCount: 5, length: .uint32, at: 1, counting: 4)      // PostgreSQL
    ///     .header(byteCount: 19, length: .uint16, at: 16, counting: 19)   // BGP
    ///
    /// - Parameters:
    ///   - byteCount: The header's size in bytes, from 1 to 1,024.
    ///   - length: The length's size and byte order.
    ///   - lengthOffset: Where it begins in the header; it must lie within.
    ///   - countedByteCount: How many bytes of the header it counts besides the payload: 0, or all
    ///     of them if it is the size of the whole frame.
    ///   - limitBytes: The longest payload, from 1 to 2⁴⁰.
    /// - Returns: A format that both sides use.
    public static func header(
        byteCount: Int, length: LengthField, at lengthOffset: Int = 0,
        counting countedByteCount: Int = 0, limitBytes: Int = defaultLimitBytes
    ) -> FrameFormat {
        require(
            (1...largestHeaderByteCount).contains(byteCount),
            "FrameFormat: a header has 1 to \(largestHeaderByteCount) bytes, not \(byteCount)")
        require(
            lengthOffset >= 0 && lengthOffset <= byteCount - length.byteCount,
            "FrameFormat: a length of \(length.byteCount) bytes at \(lengthOffset) is not within"
                + " a header of \(byteCount)")
        require(
            (0...byteCount).contains(countedByteCount)
                && UInt64(countedByteCount) < length.maximum,
            "FrameFormat: a length that counts \(countedByteCount) bytes of a header of"
                + " \(byteCount) cannot be")
        let header = FixedHeader(
            byteCount: byteCount, length: length, lengthOffset: lengthOffset,
            countedByteCount: countedByteCount, isShown: true)
        return FrameFormat(
            .fixedHeader(header), limitBytes: limitBytes,
            most: length.maximum - UInt64(countedByteCount))
    }
}

extension FrameFormat {
    /// How a frame lies in the stream: its length, its payload, its end.
    struct Extent: Equatable {
        let headerByteCount: Int
        let payloadByteCount: Int
        /// The comma of a netstring.
        let trailerByteCount: Int

        var byteCount: Int { headerByteCount + payloadByteCount + trailerByteCount }
    }

    /// Reads the length of a frame from its beginning.
    ///
    /// - Returns: Nil if there are too few bytes to tell: see ``neededByteCount(having:)``.
    /// - Complexity: O(1): a netstring over the limit is refused at the digit that passes it.
    func extent(of bytes: RawSpan) throws(FrameError) -> Extent? {
        switch layout {
        case .netstring: try netstringExtent(of: bytes)
        case .varint: try varintExtent(of: bytes)
        case .fixedHeader(let header): try extent(of: bytes, by: header)
        }
    }

    /// How many bytes are needed to know more of a frame of which so few are there that
    /// ``extent(of:)`` is nil.
    func neededByteCount(having byteCount: Int) -> Int {
        switch layout {
        case .netstring, .varint: byteCount + 1
        case .fixedHeader(let header): header.byteCount
        }
    }

    private func extent(
        of bytes: RawSpan, by header: FixedHeader
    ) throws(FrameError) -> Extent? {
        guard bytes.byteCount >= header.byteCount else { return nil }
        let length = header.length.read(from: bytes, at: header.lengthOffset)
        let counted = UInt64(header.countedByteCount)
        guard length >= counted else {
            throw .tooShort(byteCount: length, headerByteCount: header.countedByteCount)
        }
        try check(payloadByteCount: length - counted)
        return Extent(
            headerByteCount: header.byteCount, payloadByteCount: Int(length - counted),
            trailerByteCount: 0)
    }

    private func netstringExtent(of bytes: RawSpan) throws(FrameError) -> Extent? {
        var length: UInt64 = 0
        for position in 0..<bytes.byteCount {
            let byte = bytes[position]
            if byte == UInt8(ascii: ":"), position > 0 {
                return Extent(
                    headerByteCount: position + 1, payloadByteCount: Int(length),
                    trailerByteCount: 1)
            }
            let hasLeadingZero = position > 0 && length == 0
            guard case UInt8(ascii: "0")...UInt8(ascii: "9") = byte, !hasLeadingZero else {
                throw .malformedLength(byte: byte)
            }
            length = length * 10 + UInt64(byte - UInt8(ascii: "0"))
            // At each digit: so neither the number nor the count of digits grows beyond the limit's.
            try check(payloadByteCount: length)
        }
        return nil
    }

    private func varintExtent(of bytes: RawSpan) throws(FrameError) -> Extent? {
        var length: UInt64 = 0
        for position in 0..<min(bytes.byteCount, Self.longestVarint) {
            let byte = bytes[position]
            let group = UInt64(byte & 0x7f)
            let shift = 7 * position
            guard (group &<< shift) &>> shift == group else {
                throw .tooLong(byteCount: .max, limitBytes: limitBytes)
            }
            length |= group &<< shift
            // At each group, so that nothing is awaited for a length that is refused.
            try check(payloadByteCount: length)
            guard byte & 0x80 != 0 else {
                return Extent(
                    headerByteCount: position + 1, payloadByteCount: Int(length),
                    trailerByteCount: 0)
            }
        }
        guard bytes.byteCount < Self.longestVarint else { throw .overlongVarint }
        return nil
    }

    /// Ten groups of seven bits hold any number of 64 bits.
    private static let longestVarint = 10

    private func check(payloadByteCount: UInt64) throws(FrameError) {
        guard payloadByteCount <= UInt64(limitBytes) else {
            throw .tooLong(byteCount: payloadByteCount, limitBytes: limitBytes)
        }
    }

    /// What is shown of a frame that is complete.
    ///
    /// - Throws: ``FrameError/missingComma(byteCount:byte:)``.
    func shownRange(of frame: RawSpan, _ extent: Extent) throws(FrameError) -> Range<Int> {
        switch layout {
        case .netstring:
            let last = frame[extent.byteCount - 1]
            guard last == UInt8(ascii: ",") else {
                throw .missingComma(byteCount: extent.payloadByteCount, byte: last)
            }
            return extent.headerByteCount..<extent.byteCount - 1
        case .varint:
            return extent.headerByteCount..<extent.byteCount
        case .fixedHeader(let header):
            return (header.isShown ? 0 : header.byteCount)..<extent.byteCount
        }
    }

    /// The size of the payload of a frame that is to be sent.
    ///
    /// - Throws: ``FrameError/tooLong(byteCount:limitBytes:)``.
    func payloadByteCount(ofFrame byteCount: Int) throws(FrameError) -> Int {
        var payload = byteCount
        if case .fixedHeader(let header) = layout, header.isShown {
            require(
                byteCount >= header.byteCount,
                "write(frame:as:): a frame begins with its header of \(header.byteCount) bytes,"
                    + " and this one has \(byteCount)")
            payload -= header.byteCount
        }
        try check(payloadByteCount: UInt64(payload))
        return payload
    }
}
