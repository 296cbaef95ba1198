// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

/// What a frame is: RFC 6455 §5.2.
package enum FrameOpcode {
    package static let continuation: UInt8 = 0
    package static let text: UInt8 = 1
    package static let binary: UInt8 = 2
    package static let close: UInt8 = 8
    package static let ping: UInt8 = 9
    package static let pong: UInt8 = 10
}

/// What stands in front of a frame's payload.
package struct FrameHeader: Equatable {
    package var opcode: UInt8
    package var isFinal: Bool
    /// The first reserved bit, by which a compressed message begins: RFC 7692 §6.
    package var isCompressed: Bool
    package static let compressionBit: UInt8 = 0x40
    package var mask: FrameMask
    /// Bytes of the header itself.
    package var byteCount: Int
    package var payloadByteCount: Int

    @inline(__always)
    package var isControl: Bool { opcode >= 8 }

    /// Which of the two sides has sent a frame, since only a client masks.
    package enum Sender { case client, server }

    /// Reads a header, strictly.
    ///
    /// - Parameters:
    ///   - start: Where it begins.
    ///   - count: How many bytes there are.
    ///   - sender: Whose frame it is.
    ///   - mayBeCompressed: Whether compression was agreed on.
    /// - Returns: `nil` if it is not whole; what there is of it is right.
    /// - Throws: What is wrong with it.
    @inline(__always)
    static func read(
        _ start: UnsafeRawPointer, count: Int, from sender: Sender, mayBeCompressed: Bool
    ) throws(WebSocketError) -> FrameHeader? {
        guard count >= 1 else { return nil }
        let first = unsafe start.load(as: UInt8.self)
        let opcode = first & 0x0f
        let isControl = opcode >= 8
        if first & 0x70 != 0 {
            guard first & 0x70 == compressionBit, mayBeCompressed, opcode == 1 || opcode == 2 else {
                throw .reservedBits
            }
        }
        guard opcode <= 2 || isControl && opcode <= 10 else { throw .unknownOpcode(opcode) }
        if isControl, first & 0x80 == 0 { throw .fragmentedControlFrame }
        guard count >= 2 else { return nil }
        let second = unsafe start.load(fromByteOffset: 1, as: UInt8.self)
        let isMasked = second & 0x80 != 0
        guard isMasked == (sender == .client) else { throw isMasked ? .masked : .notMasked }
        var payloadByteCount = Int(second & 0x7f)
        if isControl, payloadByteCount > 125 { throw .longControlFrame }
        var byteCount = 2
        if payloadByteCount == 126 {
            byteCount = 4
            guard count >= 4 else { return nil }
            payloadByteCount = Int(
                UInt16(
                    bigEndian: unsafe start.loadUnaligned(fromByteOffset: 2, as: UInt16.self)))
            guard payloadByteCount > 125 else { throw .badLength }
        } else if payloadByteCount == 127 {
            byteCount = 10
            guard count >= 10 else { return nil }
            let long = UInt64(
                bigEndian: unsafe start.loadUnaligned(fromByteOffset: 2, as: UInt64.self))
            guard long > 0xffff, long <= UInt64(Int.max) else { throw .badLength }
            payloadByteCount = Int(long)
        }
        var mask = FrameMask(key: 0)
        if isMasked {
            guard count >= byteCount &+ 4 else { return nil }
            mask.key = UInt32(
                littleEndian: unsafe start.loadUnaligned(
                    fromByteOffset: byteCount, as: UInt32.self))
            byteCount &+= 4
        }
        return FrameHeader(
            opcode: opcode, isFinal: first & 0x80 != 0, isCompressed: first & compressionBit != 0,
            mask: mask, byteCount: byteCount, payloadByteCount: payloadByteCount)
    }

    /// How many bytes the header of a payload has.
    @inline(__always)
    package static func byteCount(forPayload count: Int, isMasked: Bool) -> Int {
        (count < 126 ? 2 : count < 0x1_0000 ? 4 : 10) &+ (isMasked ? 4 : 0)
    }

    /// Writes a header, in its shortest form.
    ///
    /// - Parameters:
    ///   - start: Where to; there is room for ``byteCount(forPayload:isMasked:)``.
    ///   - first: The first byte: the bits and the opcode.
    ///   - count: Of the payload: 0 or more.
    ///   - mask: A client's.
    /// - Returns: How many bytes were written.
    @inline(__always)
    @discardableResult
    package static func write(
        to start: UnsafeMutableRawPointer, first: UInt8, payloadByteCount count: Int,
        mask: FrameMask?
    ) -> Int {
        let bit: UInt8 = mask == nil ? 0 : 0x80
        unsafe start.storeBytes(of: first, as: UInt8.self)
        var byteCount = 2
        if count < 126 {
            unsafe start.storeBytes(
                of: UInt8(truncatingIfNeeded: count) | bit, toByteOffset: 1, as: UInt8.self)
        } else if count < 0x1_0000 {
            unsafe start.storeBytes(of: 126 | bit, toByteOffset: 1, as: UInt8.self)
            let short = UInt16(truncatingIfNeeded: count).bigEndian
            unsafe start.storeBytes(of: short, toByteOffset: 2, as: UInt16.self)
            byteCount = 4
        } else {
            unsafe start.storeBytes(of: 127 | bit, toByteOffset: 1, as: UInt8.self)
            unsafe start.storeBytes(
                of: UInt64(count).bigEndian, toByteOffset: 2, as: UInt64.self)
            byteCount = 10
        }
        if let mask {
            unsafe start.storeBytes(
                of: mask.key.littleEndian, toByteOffset: byteCount, as: UInt32.self)
            byteCount &+= 4
        }
        return byteCount
    }
}
