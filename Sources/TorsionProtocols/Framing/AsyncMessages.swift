// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

public import TorsionCore

/// The messages of a connection as a sequence, which a decoder takes one after the other.
///
/// It reads when it is asked. If you leave a loop, the bytes behind the last message stay with the
/// connection, for another loop, other messages or `read`. Ends when the peer does.
///
/// One task reads at a time. See `AsyncConnection.messages(_:limitBytes:)`.
public struct AsyncMessages<Decoder: MessageDecoder>: AsyncSequence {
    /// The decoder's message.
    public typealias Element = Decoder.Message

    let connection: AsyncConnection
    let decoder: Decoder
    let limitBytes: Int

    /// Begins where reading stands, with the decoder as it was given.
    public func makeAsyncIterator() -> Iterator {
        Iterator(connection: connection, decoder: decoder, limitBytes: limitBytes)
    }

    /// Waits for one message after the other.
    public struct Iterator: AsyncIteratorProtocol {
        let connection: AsyncConnection
        /// The decoder, with what it keeps of a message that is not complete.
        public private(set) var decoder: Decoder
        let limitBytes: Int

        /// Waits for the next message.
        ///
        /// - Returns: Nil when the peer has ended behind a message.
        /// - Throws: What the decoder throws, and then the bytes stay; `MessageTooLong`,
        ///   `UnexpectedEnd` if the peer ends in a message; else as `AsyncConnection.read(_:)`. If
        ///   the task is cancelled, the bytes stay for the next call.
        public mutating func next() async throws -> Element? {
            try await connection.readMessage(limitBytes: limitBytes) { reader in
                try decoder.decode(&reader)
            }
        }

        /// Waits for the next message.
        ///
        /// - Parameter actor: The caller's; leave it out.
        /// - Returns: As ``next()``.
        /// - Throws: As ``next()`` does.
        public mutating func next(
            isolation actor: isolated (any Actor)?
        ) async throws(any Error) -> Element? { try await next() }
    }
}

extension AsyncConnection {
    /// The messages that arrive, taken by a decoder of your own.
    ///
    ///     for try await command in connection.messages(CommandDecoder()) { … }
    ///
    /// - Parameters:
    ///   - decoder: Takes one message; each loop begins with it as it is here.
    ///   - limitBytes: The most bytes of a message, at least 1.
    /// - Returns: A sequence that reads when it is asked.
    public func messages<Decoder: MessageDecoder>(
        _ decoder: Decoder, limitBytes: Int = 64 * 1024
    ) -> AsyncMessages<Decoder> {
        require(limitBytes > 0, "messages: need a positive limit, got \(limitBytes)")
        return AsyncMessages(connection: self, decoder: decoder, limitBytes: limitBytes)
    }

    /// The lines that arrive, without their ends.
    ///
    ///     for try await line in connection.lines() { print(String(decoding: line)) }
    ///
    /// The lines of one read share its memory: to keep a few of many, use `compacted()`.
    ///
    /// - Parameters:
    ///   - limitBytes: The longest line, its end not counted, at least 1. A longer one throws
    ///     ``LineTooLong``.
    ///   - terminator: The end of a line.
    /// - Returns: A sequence that reads when it is asked. A last line without its end throws
    ///   `UnexpectedEnd`.
    public func lines(
        limitBytes: Int = 16 * 1024, terminator: LineDecoder.Terminator = .lineFeed
    ) -> AsyncMessages<LineMessages> {
        let decoder = LineMessages(limitBytes: limitBytes, terminator: terminator)
        return AsyncMessages(connection: self, decoder: decoder, limitBytes: .max)
    }

    /// Waits for one line, which is returned without its end; what is behind it stays.
    ///
    /// - Parameters:
    ///   - limitBytes: The longest line, its end not counted, at least 1.
    ///   - terminator: The end of a line.
    /// - Returns: The line; nil if the peer ends before its first byte.
    /// - Throws: ``LineTooLong``; `UnexpectedEnd` if the peer ends within the line; else as
    ///   `read(_:)`. If the task is cancelled, the bytes stay for the next call.
    public nonisolated(nonsending) func readLine(
        limitBytes: Int = 16 * 1024, terminator: LineDecoder.Terminator = .lineFeed
    ) async throws -> Bytes? {
        let decoder = LineMessages(limitBytes: limitBytes, terminator: terminator)
        return try await readMessage(limitBytes: .max) { try decoder.decode(&$0) }
    }

    /// The frames that arrive: their payloads, or header and payload in a format of a header.
    ///
    ///     for try await frame in connection.frames(.lengthPrefix(.uint32)) { … }
    ///
    /// The frames of one read share its memory: to keep a few of many, use `compacted()`.
    ///
    /// - Parameter format: The frames' form and limit.
    /// - Returns: A sequence that reads when it is asked. Bytes that break it throw ``FrameError``.
    public func frames(_ format: FrameFormat) -> AsyncMessages<FrameMessages> {
        AsyncMessages(connection: self, decoder: FrameMessages(format), limitBytes: .max)
    }
}

/// Takes lines from a stream, as ``LineDecoder`` does.
///
/// It limits the lines itself: give `AsyncConnection.lines(limitBytes:terminator:)` the
/// limit.
public struct LineMessages: MessageDecoder {
    private let limitBytes: Int
    private let end: Bytes
    private let isLoose: Bool

    /// Takes lines of one kind.
    ///
    /// - Parameters:
    ///   - limitBytes: The longest line, its end not counted, at least 1.
    ///   - terminator: The end of a line.
    public init(limitBytes: Int = 16 * 1024, terminator: LineDecoder.Terminator = .lineFeed) {
        require(limitBytes > 0, "lines: need a positive limit, got \(limitBytes)")
        end = terminator.bytes
        require(
            (1...64).contains(end.count),
            "lines: a terminator has 1 to 64 bytes, not \(end.count)")
        self.limitBytes = limitBytes
        isLoose = terminator == .lineFeed
    }

    /// Takes one line.
    ///
    /// - Parameter reader: Stands at its first byte.
    /// - Returns: The line without its end, shared with what it was read from.
    /// - Throws: ``LineTooLong``, `ByteReaderError.needsMore`.
    public func decode(_ reader: inout ByteReader) throws -> Bytes {
        let start = reader.position
        var length: Int
        do throws(ByteReaderError) {
            let line = try reader.readSpan(until: end.span)
            length = line.byteCount
            if isLoose, line.last == UInt8(ascii: "\r") { length -= 1 }
        } catch {
            // The last bytes may be the beginning of the end.
            let least = reader.remainingByteCount - (isLoose ? 1 : end.count - 1)
            try check(byteCount: least)
            throw error
        }
        try check(byteCount: length)
        let next = reader.position
        try reader.move(to: start)
        let line = try reader.readBytes(length)
        try reader.move(to: next)
        return line
    }

    private func check(byteCount: Int) throws(LineTooLong) {
        guard byteCount <= limitBytes else {
            throw LineTooLong(byteCount: byteCount, limitBytes: limitBytes)
        }
    }
}

/// Takes frames from a stream, as ``FrameDecoder`` does.
public struct FrameMessages: MessageDecoder {
    private let format: FrameFormat

    /// Takes frames of one format, which limits them.
    ///
    /// - Parameter format: The frames' form and limit.
    public init(_ format: FrameFormat) { self.format = format }

    /// Takes one frame.
    ///
    /// - Parameter reader: Stands at its first byte.
    /// - Returns: The payload, or header and payload in a format of a header; shared with what it was
    ///   read from.
    /// - Throws: ``FrameError``, `ByteReaderError.needsMore`.
    public func decode(_ reader: inout ByteReader) throws -> Bytes {
        let rest = reader.remaining
        guard let extent = try format.extent(of: rest) else {
            let needed = format.neededByteCount(having: rest.byteCount)
            throw ByteReaderError.needsMore(byteCount: needed - rest.byteCount)
        }
        guard extent.byteCount <= rest.byteCount else {
            throw ByteReaderError.needsMore(byteCount: extent.byteCount - rest.byteCount)
        }
        let shown = try format.shownRange(of: rest, extent)
        try reader.skip(shown.lowerBound)
        let frame = try reader.readBytes(shown.count)
        try reader.skip(extent.byteCount - shown.upperBound)
        return frame
    }
}
