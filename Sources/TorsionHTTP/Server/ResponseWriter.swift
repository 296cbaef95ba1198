// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

@_spi(Backend) public import TorsionCore

/// Takes a body: the connection of either side.
protocol BodyOutlet: AnyObject {
    var transport: (any StreamTransport)? { get }
    /// Whether the body of this message is being written.
    func isWriting(_ number: UInt32) -> Bool
    /// So many bytes were written in all.
    func bodyWritten(byteCount: Int)
    /// The kernel is told to send from a file, or no longer.
    func sendsFile(_ isSendingFile: Bool)
    /// The body is not whole, and never will be.
    func abort(because error: any Error)
    /// The body is whole.
    func writerEnded(_ status: HTTPStatus, byteCount: Int)
}

/// Takes the body of an answer, piece by piece.
///
///     let writer = exchange.begin(.ok, [.contentType: "text/event-stream"])
///     writer.write("data: hello\n\n")
///     …
///     writer.finish()
///
/// It is a `Consumer`: register a producer, or pipe a source into it, and what the client does not
/// take slows that down. A body that is longer or shorter than announced, and a writer that is
/// released before ``finish(trailers:)``, abort the connection, so that the client does not take a
/// part for the whole. When the client has gone, writes are dropped. It belongs to its reactor.
public final class ResponseWriter: Consumer {
    private let connection: (any BodyOutlet)?
    private let number: UInt32
    private let status: HTTPStatus
    private let framing: AnswerFraming
    /// The answer has no body, or the request was `HEAD`: what is written is dropped.
    let isOmitted: Bool
    private var hasFinished = false
    /// Whether a body that breaks is nothing to report: it is another server's.
    var isQuiet = false

    /// Bytes of the body that were written.
    public private(set) var writtenByteCount = 0

    init(
        _ connection: any BodyOutlet, _ number: UInt32, _ status: HTTPStatus,
        _ framing: AnswerFraming, isOmitted: Bool
    ) {
        self.connection = connection
        self.number = number
        self.status = status
        self.framing = framing
        self.isOmitted = isOmitted
    }

    /// Of a client that has gone.
    init() {
        connection = nil
        number = 0
        status = .ok
        framing = .none
        isOmitted = false
        hasFinished = true
    }

    deinit {
        guard let connection = open else { return }
        guard !isQuiet else {
            connection.transport?.abortConnection()
            return
        }
        connection.abort(because: AnswerError.unfinished)
    }

    /// The connection, as long as the answer is not finished and the client is there.
    private var open: (any BodyOutlet)? {
        guard !hasFinished, let connection, connection.isWriting(number) else { return nil }
        return connection
    }

    /// Whether what is written may still reach the client.
    public var isOpen: Bool { open != nil }

    /// Bytes that were written and that the kernel has refused so far.
    public var pendingByteCount: Int { open?.transport?.pendingByteCount ?? 0 }

    // MARK: Writing

    /// Writes a copy of some bytes; in chunks, they are one.
    ///
    /// - Parameter bytes: Any number; borrowed for the call.
    public func write(_ bytes: RawSpan) {
        guard let transport = admit(bytes.byteCount) else { return }
        guard framing == .chunked else { return transport.write(bytes) }
        let count = bytes.byteCount
        transport.write(capacity: count + Self.chunkFrameByteCount) { output in
            output.withUnsafeMutableBytes { room, written in
                // It has room for the frame at least, hence an address.
                var encoder = unsafe AnswerEncoder(room.baseAddress!)
                encoder.put(hexadecimal: count)
                encoder.put("\r\n")
                encoder.put(bytes)
                encoder.put("\r\n")
                written = encoder.byteCount
            }
        }
    }

    /// Writes bytes, without a copy if they are many; in chunks, they are one.
    ///
    /// - Parameter bytes: Any number.
    public func write(_ bytes: Bytes) {
        guard bytes.count >= 4 * 1024 else { return write(bytes.span) }
        guard let transport = admit(bytes.count) else { return }
        guard framing == .chunked else { return transport.write(bytes) }
        transport.write(String(bytes.count, radix: 16) + "\r\n")
        transport.write(bytes)
        transport.write("\r\n")
    }

    /// The digits of a size, and two ends of lines.
    private static let chunkFrameByteCount = 20

    /// Counts bytes that are about to be written.
    ///
    /// - Returns: Where they go; `nil` if they go nowhere.
    private func admit(_ byteCount: Int) -> (any StreamTransport)? {
        require(
            !hasFinished || connection == nil, "ResponseWriter: written to after finish()")
        guard byteCount > 0, let connection = open else { return nil }
        guard !isOmitted else { return nil }
        writtenByteCount += byteCount
        if case .length(let announced) = framing, writtenByteCount > announced {
            hasFinished = true
            connection.abort(because: AnswerError.bodyTooLong(announced: announced))
            return nil
        }
        connection.bodyWritten(byteCount: writtenByteCount)
        return connection.transport
    }

    /// The body is whole.
    ///
    /// - Parameter trailers: Sent behind a body in chunks, and dropped behind any other (RFC 9110 §6.5).
    public func finish(trailers: FieldList = [:]) {
        guard let connection = open, let transport = connection.transport else {
            return hasFinished = true
        }
        hasFinished = true
        if case .length(let announced) = framing, !isOmitted, writtenByteCount < announced {
            let written = writtenByteCount
            return connection.abort(
                because: AnswerError.bodyTooShort(announced: announced, written: written))
        }
        if framing == .chunked, !isOmitted {
            do throws(AnswerError) {
                try writeLastChunk(trailers, on: transport)
            } catch {
                return connection.abort(because: error)
            }
        }
        connection.writerEnded(status, byteCount: writtenByteCount)
    }

    private func writeLastChunk(
        _ trailers: FieldList, on transport: any StreamTransport
    ) throws(AnswerError) {
        for field in trailers {
            if (1...8).contains(field.name.number) { throw .reservedField(field.name) }
            guard isFieldValue(field.value.span) else { throw .badFieldValue(field.name) }
        }
        transport.write("0\r\n")
        for field in trailers {
            transport.write(field.name.bytes)
            transport.write(": ")
            transport.write(field.value)
            transport.write("\r\n")
        }
        transport.write("\r\n")
    }

    /// An answer without a body has come to its end.
    func finishOmitted() {
        guard let connection = open else { return }
        hasFinished = true
        connection.writerEnded(status, byteCount: 0)
    }

    // MARK: A consumer

    /// Registers a producer, to be paused and resumed.
    ///
    /// - Parameter producer: Paused while too much is queued. A second one traps.
    public func registerProducer(_ producer: any PushProducer) {
        guard let transport = open?.transport else { return producer.stopProducing() }
        connection?.sendsFile(false)
        transport.registerProducer(producer)
    }

    /// Registers a producer, to be asked for the next piece.
    ///
    /// - Parameter producer: Asked on the reactor. A second one traps.
    public func registerProducer(_ producer: any PullProducer) {
        guard let transport = open?.transport else { return producer.stopProducing() }
        transport.registerProducer(producer)
    }

    /// The producer has finished.
    public func unregisterProducer() {
        connection?.sendsFile(false)
        open?.transport?.unregisterProducer()
    }

    /// Finishes the body.
    public func finishConsuming() { finish() }

    /// Aborts the connection, since something of the body is missing.
    ///
    /// - Parameter error: Not sent: the client sees a broken connection.
    public func abandonConsuming(because error: any Error) {
        guard let connection = open else { return hasFinished = true }
        hasFinished = true
        if isQuiet || error is CancellationError {
            connection.transport?.abortConnection()
        } else {
            connection.abort(because: error)
        }
    }
}

extension ResponseWriter: FileSendingConsumer {
    /// Sends from a file as much as the kernel takes now.
    package func sendFile(
        _ descriptor: Int32, at offset: Int64, byteCount: Int
    ) -> SendFileResult {
        // A chunk needs its size before it, and what the kernel takes is not known before.
        guard framing != .chunked, let connection = open,
            let sender = connection.transport as? any FileSendingConsumer
        else { return .unsupported }
        if case .length(let announced) = framing, byteCount > announced - writtenByteCount {
            return .unsupported
        }
        connection.sendsFile(true)
        let result = sender.sendFile(descriptor, at: offset, byteCount: byteCount)
        if case .sent(let count) = result {
            writtenByteCount += count
            connection.bodyWritten(byteCount: writtenByteCount)
        }
        return result
    }

    /// Has the file told when there is room.
    package func awaitRoom() {
        (open?.transport as? any FileSendingConsumer)?.awaitRoom()
    }
}

extension AnswerEncoder {
    mutating func put(hexadecimal number: Int) {
        var shift = max(0, (Int.bitWidth - number.leadingZeroBitCount - 1) / 4 * 4)
        while shift >= 0 {
            let digit = UInt8(truncatingIfNeeded: number >> shift & 15)
            putByte(digit < 10 ? UInt8(ascii: "0") + digit : UInt8(ascii: "a") - 10 + digit)
            shift -= 4
        }
    }
}
