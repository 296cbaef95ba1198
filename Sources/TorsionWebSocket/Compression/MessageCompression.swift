// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

internal import TorsionCore
internal import TorsionHTTP

/// What all compressed connections of a reactor share, made when it is first needed.
///
/// Where no message refers to an earlier one, nothing of it belongs to one connection.
package final class SharedCompression {
    private var inflater: Inflater?
    private var deflater: Deflater?
    private var spare: PayloadBuffer?

    package init() {}

    /// Ready for a stream of its own.
    func takeInflater() throws(IOError) -> Inflater {
        if let inflater {
            inflater.reset()
            return inflater
        }
        let made = try makeInflater()
        inflater = made
        return made
    }

    /// Ready for a stream of its own.
    func takeDeflater() throws(IOError) -> Deflater {
        if let deflater {
            deflater.reset()
            return deflater
        }
        let made = try makeDeflater(windowBits: 15)
        deflater = made
        return made
    }

    /// For one message, which may be delivered inside of another one's delivery.
    package func takeBuffer() -> PayloadBuffer { spare.take() ?? PayloadBuffer(expecting: 0) }

    package func giveBack(_ buffer: PayloadBuffer) {
        buffer.clear()
        spare = buffer
    }
}

func makeInflater() throws(IOError) -> Inflater {
    guard let made = Inflater(.bare) else { throw noMemory }
    return made
}

func makeDeflater(windowBits: Int) throws(IOError) -> Deflater {
    guard let made = Deflater(windowBits: windowBits) else { throw noMemory }
    return made
}

private var noMemory: IOError {
    IOError(.start, function: "", code: .outOfMemory, subject: "compression")
}

/// The compression of one connection, in both directions.
package final class MessageCompression {
    private let peerKeepsContext: Bool
    private let keepsContext: Bool
    private let windowBits: Int
    let minimumByteCount: Int
    /// Where one stream lasts as long as the connection.
    private var inflater: Inflater?
    private var deflater: Deflater?

    package init(_ agreement: CompressionAgreement, isServer: Bool, minimumByteCount: Int) {
        keepsContext = isServer ? agreement.serverKeepsContext : agreement.clientKeepsContext
        peerKeepsContext = isServer ? agreement.clientKeepsContext : agreement.serverKeepsContext
        windowBits = (isServer ? agreement.serverWindowBits : agreement.clientWindowBits) ?? 15
        self.minimumByteCount = minimumByteCount
    }

    /// Whether what was compressed for many may be sent here: it refers to nothing before, and nothing
    /// behind refers to what it was compressed after.
    var takesShared: Bool { !keepsContext && windowBits == 15 }

    // MARK: What arrives

    /// Takes the compression off a message.
    ///
    /// - Throws: `WebSocketError`, or `IOError` without memory.
    package func inflate(
        _ message: RawSpan, into output: PayloadBuffer, limitBytes: Int, _ shared: SharedCompression
    ) throws {
        // Some peers send nothing for nothing, where RFC 7692 §7.2.3.6 has one byte of it.
        guard message.byteCount > 0 else { return }
        let inflater = try inflaterOfMessage(shared)
        // What a sender takes off: §7.2.2.
        let tail: [UInt8] = [0, 0, 0xff, 0xff]
        _ = try inflate(message, by: inflater, into: output, limitBytes)
        let isWhole = try inflate(tail.span.bytes, by: inflater, into: output, limitBytes)
        guard isWhole else { throw WebSocketError.badCompression }
    }

    private func inflaterOfMessage(_ shared: SharedCompression) throws(IOError) -> Inflater {
        guard peerKeepsContext else { return try shared.takeInflater() }
        if let inflater { return inflater }
        let made = try makeInflater()
        inflater = made
        return made
    }

    /// - Returns: Whether the bytes ended with a block.
    private func inflate(
        _ bytes: RawSpan, by inflater: Inflater, into output: PayloadBuffer, _ limitBytes: Int
    ) throws -> Bool {
        var position = 0
        while true {
            // One byte more than allowed is seen to be too many.
            let room = unsafe output.room(atMost: limitBytes - output.count + 1)
            let progress = unsafe inflater.add(bytes[position...], into: room)
            position += progress.usedByteCount
            output.fill(progress.writtenByteCount)
            guard output.count <= limitBytes else {
                throw WebSocketError.messageTooLong(limitBytes: limitBytes)
            }
            switch progress.state {
            case .boundary: return true
            // There is room left, so all that can be made of the bytes was made.
            case .more where progress.writtenByteCount < room.count: return false
            case .more: continue
            // A last block: another stream may follow within the message (§7.2.3.4).
            case .end:
                inflater.reset()
                if position == bytes.byteCount { return true }
            case .malformed: throw WebSocketError.badCompression
            case .noMemory: throw noMemory
            }
        }
    }

    // MARK: What is sent

    /// Compresses a message.
    ///
    /// - Returns: Whether the output is to be sent; else the message is as it is, which is shorter.
    func deflate(
        _ message: RawSpan, into output: PayloadBuffer, _ shared: SharedCompression
    ) throws(IOError) -> Bool {
        let deflater = try deflaterOfMessage(shared)
        deflater.deflateMessage(message, into: output)
        // A message that later ones may refer to has to reach the peer as it was compressed.
        return keepsContext || output.count < message.byteCount || minimumByteCount == 0
    }

    private func deflaterOfMessage(_ shared: SharedCompression) throws(IOError) -> Deflater {
        if takesShared { return try shared.takeDeflater() }
        if let deflater {
            if !keepsContext { deflater.reset() }
            return deflater
        }
        let made = try makeDeflater(windowBits: windowBits)
        deflater = made
        return made
    }
}

extension Deflater {
    /// Compresses a message, without the end that its receiver adds: RFC 7692 §7.2.1.
    func deflateMessage(_ message: RawSpan, into output: PayloadBuffer) {
        // One byte for nothing (§7.2.3.6), since zlib writes no second end behind the first.
        guard message.byteCount > 0 else {
            unsafe output.append(count: 1).storeBytes(of: 0, as: UInt8.self)
            return
        }
        var position = 0
        while true {
            let room = unsafe output.room(atMost: .max)
            let progress = unsafe add(message[position...], into: room)
            position += progress.usedByteCount
            output.fill(progress.writtenByteCount)
            if progress.writtenByteCount < room.count { break }
        }
        output.dropLast(4)
    }
}
