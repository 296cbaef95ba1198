// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

public import TorsionCore
internal import TorsionHTTP

/// One WebSocket, of a server or a client: RFC 6455.
///
/// A protocol with callbacks is given it by ``WebSocketProtocol``; async code gets it from
/// ``connect(_:on:security:options:fields:)`` or by answering a request, and reads ``messages``. It belongs to its
/// reactor: use it there.
///
///     let socket = try await WebSocket.connect("ws://127.0.0.1:8080/chat", on: reactor).value
///     try await socket.send("hello")
///     for try await message in socket.messages { print(message) }
///
/// One without a protocol is closed when its last reference goes.
public final class WebSocket {
    let connection: WebSocketConnection
    /// Where its messages go, if not to a protocol.
    let mailbox: WebSocketMailbox?

    init(_ connection: WebSocketConnection, mailbox: WebSocketMailbox?) {
        self.connection = connection
        self.mailbox = mailbox
    }

    deinit { connection.close(.normal, reason: "") }

    /// The reactor that this belongs to.
    public var reactor: Reactor { connection.reactor }

    /// A name for logs and dictionaries; that of the connection below.
    public var id: ConnectionID { connection.id }

    /// The other end.
    public var peerAddress: SocketAddress { connection.peerAddress }

    /// The facts of the connection below: how it is secured, for one.
    public var details: ConnectionDetails { connection.transport?.details ?? ConnectionDetails() }

    /// The application protocol that was agreed on, if any.
    public var subprotocol: String? { connection.subprotocol }

    /// Whether both sides have agreed on compressing messages; see ``WebSocketOptions/compression``.
    public var isCompressing: Bool { connection.compression != nil }

    /// Whether messages can be sent: neither side has closed.
    public var isOpen: Bool { connection.isOpen }

    /// Bytes that were sent and that the kernel has refused so far.
    public var pendingByteCount: Int { connection.transport?.pendingByteCount ?? 0 }

    // MARK: Sending

    /// Sends a message, in one frame, and returns at once.
    ///
    /// The rest that the kernel does not take is queued. While more than the high mark is, reading
    /// from the peer stops, unless a producer is registered: ``registerProducer(_:)``. After
    /// closing the call is ignored.
    ///
    /// - Parameters:
    ///   - message: Borrowed for the call. That a text is UTF-8 is yours to see to; what is not, the
    ///     peer refuses.
    ///   - kind: Text or binary.
    /// - Complexity: O(*n*) in the number of bytes; without an allocation for a message of 2 KiB or
    ///   less.
    @inline(__always)
    public func send(_ message: RawSpan, _ kind: WebSocketMessage.Kind) {
        connection.sendMessage(kind.firstByte, message)
    }

    /// Sends a text, and returns at once; see ``send(_:_:)-(RawSpan,_)``.
    ///
    /// - Parameter text: Any.
    public func send(_ text: String) {
        var text = text
        text.makeContiguousUTF8()
        connection.sendMessage(WebSocketMessage.Kind.text.firstByte, text.utf8Span.span.bytes)
    }

    /// Sends a message, without a copy where that pays, and returns at once; see
    /// ``send(_:_:)-(RawSpan,_)``.
    ///
    /// - Parameter message: Any.
    public func send(_ message: WebSocketMessage) {
        connection.sendMessage(message.kind.firstByte, message.bytes)
    }

    /// Sends a message that was encoded before, for many; see ``WebSocketBroadcast``.
    ///
    /// - Parameter message: Shared where the socket is a server's; a client masks each frame anew.
    public func send(_ message: EncodedMessage) { connection.send(message) }

    /// Asks the peer for a sign of life; it answers with a pong of the same bytes.
    ///
    /// This is done by itself: ``WebSocketOptions/pingInterval``.
    ///
    /// - Parameter payload: At most 125 bytes; more trap.
    public func ping(_ payload: Bytes = Bytes()) {
        require(
            payload.count <= 125,
            "WebSocket: a ping has at most 125 bytes, not \(payload.count)")
        connection.send(0x80 | FrameOpcode.ping, payload.span)
    }

    // MARK: Closing

    /// Sends a close frame behind what was sent, and ends the connection when the peer has answered.
    ///
    /// Messages from the peer meanwhile are dropped. If it does not answer within
    /// ``WebSocketOptions/closeTimeout``, the connection ends all the same. Closing again is
    /// ignored.
    ///
    /// - Parameters:
    ///   - code: Why: 1000 to 1003, 1007 to 1014, or your own from 3000 to 4999; any other traps.
    ///   - reason: In words; at most 123 bytes of UTF-8, more trap.
    public func close(_ code: WebSocketCloseCode = .normal, reason: String = "") {
        require(
            code.maySend, "WebSocket: \(code) is no code for a close frame (RFC 6455 §7.4)")
        require(
            reason.utf8.count <= 123,
            "WebSocket: a close frame's reason has at most 123 bytes, not \(reason.utf8.count)")
        connection.close(code, reason: reason)
    }

    /// Sends a close frame behind what was sent, and goes on delivering what comes before the peer's.
    ///
    /// For a client whose questions are all asked. Else it is as ``close(_:reason:)``.
    public func finishSending() { connection.close(.normal, reason: "", delivers: true) }

    /// Drops what is queued, and resets the connection.
    public func abort() { connection.transport?.abortConnection() }

    // MARK: Slowing down

    /// Stops reading until ``resumeReceiving()``; the peer is slowed down.
    ///
    /// Inside of `messageReceived` it is the last message for now.
    public func pauseReceiving() { connection.pauseReceiving() }

    /// Reads again.
    public func resumeReceiving() { connection.resumeReceiving() }

    /// Names who is paused while more than the high mark is queued, and resumed at the low one.
    ///
    /// Reading then goes on meanwhile.
    ///
    /// - Parameter producer: Stopped at once if the connection has gone. A second one traps.
    public func registerProducer(_ producer: any PushProducer) {
        connection.registerProducer(producer)
    }

    /// The producer has finished.
    ///
    /// Harmless without a producer.
    public func unregisterProducer() { connection.unregisterProducer() }
}

extension WebSocketMessage.Kind {
    /// Of a whole message's frame.
    @inline(__always)
    var firstByte: UInt8 { self == .text ? 0x81 : 0x82 }
}

/// A message as a server's frame, encoded once: many sockets share its bytes.
///
///     let news = EncodedMessage("42 members")
///     for member in members { member.send(news) }
///
/// A value, usable on any thread.
public struct EncodedMessage: Sendable {
    private let frame: Bytes
    /// For those who have agreed on compression, if that makes it shorter.
    private var compressedFrame: Bytes?
    private let payloadByteCount: Int

    /// For a client, which encodes it anew.
    var firstByte: UInt8 { frame[0] }
    var payload: Bytes { frame[(frame.count - payloadByteCount)...] }

    /// How many bytes go to each socket that has not agreed on compression.
    public var byteCount: Int { frame.count }

    /// What goes to one socket.
    func frame(for compression: MessageCompression?) -> Bytes {
        guard let compression, compression.takesShared, let compressedFrame else { return frame }
        return compressedFrame
    }

    /// Encodes a message.
    ///
    /// - Parameter message: Any.
    public init(_ message: WebSocketMessage) {
        self.init(message.bytes.span, message.kind)
    }

    /// Encodes a text.
    ///
    /// - Parameter text: Any.
    public init(_ text: String) {
        var text = text
        text.makeContiguousUTF8()
        self.init(text.utf8Span.span.bytes, .text)
    }

    /// Encodes a message.
    ///
    /// - Parameters:
    ///   - bytes: Borrowed for the call.
    ///   - kind: Text, which must be UTF-8, or binary.
    public init(_ bytes: RawSpan, _ kind: WebSocketMessage.Kind) {
        frame = makeFrame(kind.firstByte, bytes, mask: nil)
        payloadByteCount = bytes.byteCount
    }

    #if Zlib
    /// Adds a compressed form, for those sockets that have agreed on compression without a context.
    ///
    /// One that keeps a context gets the message as it is.
    ///
    /// - Returns: The message; as it was if compression does not make it shorter.
    /// - Complexity: O(*n*); takes 270 KiB meanwhile.
    public func compressed() -> EncodedMessage {
        (try? compressed(by: makeDeflater(windowBits: 15), PayloadBuffer(expecting: 0))) ?? self
    }
    #else
    /// Adds a compressed form, which this build cannot make: turn the trait on.
    @available(
        *, unavailable,
        message: "depend on Torsion with the trait: .package(…, traits: [\"Zlib\"])"
    )
    public func compressed() -> EncodedMessage { fatalError("built without the trait Zlib") }
    #endif

    func compressed(by deflater: Deflater, _ output: PayloadBuffer) -> EncodedMessage {
        var message = self
        deflater.deflateMessage(payload.span, into: output)
        guard output.count < payloadByteCount else { return self }
        message.compressedFrame = unsafe makeFrame(
            firstByte | FrameHeader.compressionBit, output.bytes.bytes, mask: nil)
        return message
    }
}

/// A whole frame in memory of its own.
func makeFrame(_ first: UInt8, _ payload: RawSpan, mask: FrameMask?) -> Bytes {
    let count = payload.byteCount
    let capacity = FrameHeader.byteCount(forPayload: count, isMasked: mask != nil) + count
    return Bytes(capacity: capacity) { output in
        unsafe output.withUnsafeMutableBytes { room, written in
            // There is room for a header at least, hence an address.
            written = unsafe putFrame(room.baseAddress!, first, payload, mask)
        }
    }
}

/// Puts a whole frame where there is room for it.
///
/// - Returns: How many bytes it has.
@inline(__always)
func putFrame(
    _ start: UnsafeMutableRawPointer, _ first: UInt8, _ payload: RawSpan, _ mask: FrameMask?
) -> Int {
    let count = payload.byteCount
    let header = unsafe FrameHeader.write(
        to: start, first: first, payloadByteCount: count, mask: mask)
    unsafe payload.withUnsafeBytes { bytes in
        guard let source = bytes.baseAddress else { return }
        if let mask {
            _ = unsafe mask.copy(from: source, to: start + header, count: count)
        } else {
            unsafe (start + header).copyMemory(from: source, byteCount: count)
        }
    }
    return header &+ count
}
