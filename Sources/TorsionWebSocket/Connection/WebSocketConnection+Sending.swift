// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

internal import TorsionCore

extension WebSocketConnection {
    /// Frames up to this size are put together where small writes are collected.
    private static var inlineByteCount: Int { 2 * 1024 }

    /// Sends a message, compressed if that was agreed on.
    ///
    /// - Parameters:
    ///   - first: The first byte of its frame, were it not compressed.
    ///   - message: Borrowed for the call.
    @inline(__always)
    func sendMessage(_ first: UInt8, _ message: RawSpan) {
        if compression == nil { send(first, message) } else { sendCompressed(first, message) }
    }

    @inline(never)
    private func sendCompressed(_ first: UInt8, _ message: RawSpan) {
        guard machine.maySend, let compression, let shared,
            message.byteCount >= compression.minimumByteCount
        else { return send(first, message) }
        let output = shared.compression.takeBuffer()
        defer { shared.compression.giveBack(output) }
        do throws(IOError) {
            guard try compression.deflate(message, into: output, shared.compression) else {
                return put(first, message)
            }
            unsafe put(first | FrameHeader.compressionBit, output.bytes.bytes)
        } catch {
            programFailed(error)
        }
    }

    /// Sends one frame.
    ///
    /// - Parameters:
    ///   - first: Its first byte.
    ///   - payload: Borrowed for the call.
    @inline(__always)
    func send(_ first: UInt8, _ payload: RawSpan) {
        guard machine.maySend else { return }
        put(first, payload)
    }

    @inline(__always)
    func put(_ first: UInt8, _ payload: RawSpan) {
        if isServer, payload.byteCount < 126 {
            putShort(first, payload)
        } else {
            putAny(first, payload)
        }
    }

    /// A server's frame with the shortest header.
    @inline(__always)
    private func putShort(_ first: UInt8, _ payload: RawSpan) {
        guard let link = unsafe unretainedLink else { return }
        let count = payload.byteCount
        putByteCount &+= count
        unsafe link._withUnsafeGuaranteedRef { link in
            link.transport.write(capacity: count &+ 2) { output in
                output.withUnsafeMutableBytes { room, written in
                    // There is room for a header at least, hence an address.
                    let start = room.baseAddress!
                    let header = UInt16(first) | UInt16(truncatingIfNeeded: count) &<< 8
                    unsafe start.storeBytes(of: header.littleEndian, as: UInt16.self)
                    unsafe payload.withUnsafeBytes { bytes in
                        guard let source = bytes.baseAddress else { return }
                        unsafe (start + 2).copyMemory(from: source, byteCount: count)
                    }
                    written = count &+ 2
                }
            }
        }
    }

    @inline(never)
    private func putAny(_ first: UInt8, _ payload: RawSpan) {
        guard let transport else { return }
        do throws(IOError) {
            let mask = isServer ? nil : try shared.makeMask()
            let count = payload.byteCount
            putByteCount &+= count
            guard count <= Self.inlineByteCount else { return putLong(first, payload, mask) }
            let capacity = FrameHeader.byteCount(forPayload: count, isMasked: !isServer) &+ count
            transport.write(capacity: capacity) { output in
                output.withUnsafeMutableBytes { room, written in
                    // There is room for a header at least, hence an address.
                    written = unsafe putFrame(room.baseAddress!, first, payload, mask)
                }
            }
        } catch {
            randomFailed(error)
        }
    }

    @inline(never)
    private func putLong(_ first: UInt8, _ payload: RawSpan, _ mask: FrameMask?) {
        if mask == nil {
            putHeader(first, payload.byteCount)
            transport?.write(payload)
        } else {
            let frame = makeFrame(first, payload, mask: mask)
            transport?.write(frame)
        }
    }

    private func putHeader(_ first: UInt8, _ payloadByteCount: Int) {
        transport?.write(capacity: 10) { output in
            output.withUnsafeMutableBytes { room, written in
                // There is room for a header, hence an address.
                written = unsafe FrameHeader.write(
                    to: room.baseAddress!, first: first, payloadByteCount: payloadByteCount,
                    mask: nil)
            }
        }
    }

    /// Sends a message, whose bytes are shared if they are many.
    func sendMessage(_ first: UInt8, _ payload: Bytes) {
        guard machine.maySend else { return }
        if compression != nil {
            sendCompressed(first, payload.span)
        } else if isServer, payload.count > Self.inlineByteCount {
            putByteCount &+= payload.count
            putHeader(first, payload.count)
            transport?.write(payload)
        } else {
            put(first, payload.span)
        }
    }

    /// Sends a frame that was encoded for many.
    func send(_ message: EncodedMessage) {
        guard machine.maySend else { return }
        if isServer {
            let frame = message.frame(for: compression)
            putByteCount &+= frame.count
            transport?.write(frame)
        } else {
            sendMessage(message.firstByte, message.payload.span)
        }
    }

    /// There are no unpredictable bytes, so that nothing may be sent.
    @inline(never)
    private func randomFailed(_ error: IOError) { transport?.abortConnection(because: error) }

    // MARK: Pongs

    func pingReceived(_ payload: RawSpan) {
        guard machine.maySend else { return }
        // A peer that sends pings and takes nothing gets the last pong only (RFC 6455 §5.5.3).
        if let output, output.isFull { return output.owedPong = Bytes(payload) }
        send(0x80 | FrameOpcode.pong, payload)
    }

    // MARK: A full queue

    /// Makes what is told of a full queue.
    @discardableResult
    func useOutput() -> WebSocketOutput {
        if let output { return output }
        let made = WebSocketOutput(self)
        output = made
        transport?.registerProducer(made)
        return made
    }

    func registerProducer(_ producer: any PushProducer) {
        guard isOpen else { return producer.stopProducing() }
        useOutput().setProducer(producer)
    }

    func unregisterProducer() { output?.setProducer(nil) }
}

/// Stands between the transport, which is full or not, and who is to know.
///
/// Where nobody is, reading is paused: so an echo whose client never reads holds little more than the
/// high mark.
final class WebSocketOutput: PushProducer {
    private unowned let connection: WebSocketConnection
    private(set) var isFull = false
    private var producer: (any PushProducer)?
    /// Broadcasts that wait for this connection.
    private var broadcasts: [WebSocketBroadcast] = []
    private var writers: [WaitKey] = []
    var owedPong: Bytes?
    /// By tasks, since one last waited.
    var sentByteCount = 0

    init(_ connection: WebSocketConnection) { self.connection = connection }

    func setProducer(_ new: (any PushProducer)?) {
        require(
            new == nil || producer == nil,
            "WebSocket: a producer is registered already; unregister it first")
        producer = new
        updateReading()
        if isFull { new?.pauseProducing() }
    }

    func add(_ broadcast: WebSocketBroadcast) {
        broadcasts.append(broadcast)
        updateReading()
        if isFull { broadcast.memberIsFull() }
    }

    func remove(_ broadcast: WebSocketBroadcast) {
        guard let index = broadcasts.firstIndex(where: { $0 === broadcast }) else { return }
        broadcasts.remove(at: index)
        if isFull { broadcast.memberHasRoom(on: connection.reactor) }
        updateReading()
    }

    private func updateReading() {
        connection.setThrottled(isFull && producer == nil && writers.isEmpty)
    }

    // MARK: What the transport tells

    func pauseProducing() {
        isFull = true
        updateReading()
        let (producer, broadcasts) = (producer, broadcasts)
        for broadcast in broadcasts { broadcast.memberIsFull() }
        producer?.pauseProducing()
    }

    func resumeProducing() {
        isFull = false
        if let pong = owedPong.take() {
            connection.send(0x80 | FrameOpcode.pong, pong.span)
        }
        updateReading()
        resumeWriters()
        let (producer, broadcasts) = (producer, broadcasts)
        for broadcast in broadcasts { broadcast.memberHasRoom(on: connection.reactor) }
        producer?.resumeProducing()
    }

    func stopProducing() {
        let producer = producer.take()
        let wasFull = isFull
        let left = broadcasts
        broadcasts = []
        isFull = false
        resumeWriters()
        for broadcast in left { broadcast.memberIsLost(connection, wasFull: wasFull) }
        producer?.stopProducing()
    }

    // MARK: Tasks that wait

    nonisolated(nonsending) func waitForRoom() async throws {
        while isFull {
            var key: WaitKey?
            do {
                try await connection.reactor.suspend { wait in
                    key = wait
                    writers.append(wait)
                    updateReading()
                }
            } catch {
                writers.removeAll { $0 == key }
                if connection.transport != nil { updateReading() }
                throw error
            }
        }
    }

    func resumeWriters() {
        let waiting = writers
        writers = []
        for key in waiting { connection.reactor.resume(key) }
    }
}
