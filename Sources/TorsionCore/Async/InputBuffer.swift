// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

// What a task has read and not used stays with its connection, so that lines, frames, raw bytes and
// messages of one's own follow each other in any order, and a read that is cancelled loses nothing.
//
// A read that holds many messages is copied once, into `Bytes` that the messages share. A message
// that spans reads is collected in an array, whose storage doubles, so that the work is linear in
// the bytes. A message that arrives whole, with nothing before it, is decoded where the kernel put
// it.

/// Bytes that an ``AsyncConnection`` has taken from its transport, and that its tasks have not used.
struct InputBuffer {
    private enum Contents {
        case whole(Bytes)
        /// The beginning of a message, whose end has not arrived. Never empty.
        case partial([UInt8])
    }

    private var contents = Contents.whole(Bytes())

    var count: Int {
        switch contents {
        case .whole(let bytes): bytes.count
        case .partial(let bytes): bytes.count
        }
    }

    var isEmpty: Bool { count == 0 }

    /// Adds a copy of what has arrived behind the beginning that is here.
    mutating func append(_ bytes: RawSpan) {
        var collected = takePartial()
        let count = collected.count + bytes.byteCount
        if count > collected.capacity {
            // Twice what has arrived, whatever length a peer announces.
            collected.reserveCapacity(max(count, 2 * collected.capacity))
        }
        collected += bytes
        contents = .partial(collected)
    }

    private mutating func takePartial() -> [UInt8] {
        switch take().contents {
        case .whole(let bytes): [UInt8](bytes)
        case .partial(let bytes): bytes
        }
    }

    /// Takes out everything.
    mutating func take() -> InputBuffer {
        var taken = InputBuffer()
        swap(&taken, &self)
        return taken
    }

    /// Takes out everything, as bytes.
    mutating func takeBytes() -> Bytes {
        switch take().contents {
        case .whole(let bytes): bytes
        case .partial(let bytes): Bytes(bytes)
        }
    }

    /// Takes one message from the beginning, if all of it is here.
    ///
    /// - Returns: Nil if more is needed; `attempt` then knows how much.
    mutating func takeMessage<Message>(
        _ attempt: inout DecodingAttempt, _ decode: (inout ByteReader) throws -> Message
    ) throws -> Message? {
        while attempt.isWorthwhile(having: count) {
            let message: Message?
            switch contents {
            case .whole(let bytes):
                let window = bytes.prefix(attempt.limitBytes)
                var reader = ByteReader(window, continuing: attempt.search)
                message = try attempt.decode(&reader, decode)
                let rest = bytes[attempt.usedByteCount...]
                if message != nil || rest.isEmpty {
                    contents = .whole(rest)
                } else {
                    // A connection that waits must not keep a whole read for the beginning.
                    contents = .partial([UInt8](rest))
                }
            case .partial(let bytes):
                let window = bytes.span.bytes.extracting(first: attempt.limitBytes)
                var reader = ByteReader(window, continuing: attempt.search)
                message = try attempt.decode(&reader, decode)
                drop(attempt.usedByteCount)
            }
            if let message { return message }
        }
        return nil
    }

    /// Takes one message from the beginning of bytes that are borrowed, and keeps a copy of the rest.
    ///
    /// - Precondition: Empty.
    mutating func takeMessage<Message>(
        from bytes: RawSpan, _ attempt: inout DecodingAttempt,
        _ decode: (inout ByteReader) throws -> Message
    ) throws -> Message? {
        precondition(isEmpty, "InputBuffer: what is here comes first")
        var rest = bytes
        while attempt.isWorthwhile(having: rest.byteCount) {
            let window = rest.extracting(first: attempt.limitBytes)
            var reader = ByteReader(window, continuing: attempt.search)
            let message: Message?
            do { message = try attempt.decode(&reader, decode) } catch {
                contents = .whole(Bytes(rest))
                throw error
            }
            rest = rest.extracting(attempt.usedByteCount..<rest.byteCount)
            guard message == nil else {
                contents = .whole(Bytes(rest))
                return message
            }
        }
        if !rest.isEmpty { append(rest) }
        return nil
    }

    private mutating func drop(_ count: Int) {
        guard count > 0, case .partial(var bytes) = take().contents else { return }
        if count == bytes.count {
            contents = .whole(Bytes())
        } else if count > bytes.count / 2 {
            contents = .whole(Bytes(bytes[count...]))
        } else {
            bytes.removeFirst(count)
            contents = .partial(bytes)
        }
    }
}

/// How far one message has been decoded, from its first attempt to the one that succeeds.
///
/// Kept by the call that reads the message, since another call may decode otherwise.
package struct DecodingAttempt {
    /// The most bytes that a decoder is shown for a message, behind its last ``ByteReader/commit()``.
    package let limitBytes: Int
    /// Fewer bytes need not be tried.
    package private(set) var neededByteCount = 1
    package private(set) var search = ByteReader.Search()
    /// How many bytes the last attempt has used.
    package private(set) var usedByteCount = 0
    /// Whether a part of the message was used already.
    package private(set) var hasCommitted = false
    /// Whether it has thrown an error of its own, and not of the decoder's.
    package private(set) var hasRefused = false

    package init(limitBytes: Int) { self.limitBytes = limitBytes }

    package func isWorthwhile(having byteCount: Int) -> Bool { byteCount >= neededByteCount }

    /// Decodes from the beginning of what is there.
    ///
    /// - Parameters:
    ///   - reader: Has no more bytes than the limit: so what is refused does not depend on the cuts.
    ///   - decode: Takes a message.
    /// - Returns: Nil if more is needed.
    /// - Throws: What `decode` throws, but ``ByteReaderError/needsMore(byteCount:)``;
    ///   ``MessageTooLong``; ``EmptyMessage``.
    package mutating func decode<Message>(
        _ reader: inout ByteReader, _ decode: (inout ByteReader) throws -> Message
    ) throws -> Message? {
        do {
            let message = try decode(&reader)
            guard reader.position > 0 else {
                hasRefused = true
                throw EmptyMessage()
            }
            usedByteCount = reader.position
            return message
        } catch ByteReaderError.needsMore(let missing) {
            usedByteCount = reader.committedPosition
            if usedByteCount > 0 { hasCommitted = true }
            let held = reader.bytes.byteCount - usedByteCount
            let (needed, overflows) = held.addingReportingOverflow(max(missing, 1))
            neededByteCount = overflows ? .max : needed
            try check(byteCount: neededByteCount)
            search = reader.unfinishedSearch.removing(usedByteCount)
            return nil
        }
    }

    private mutating func check(byteCount: Int) throws(MessageTooLong) {
        guard byteCount <= limitBytes else {
            hasRefused = true
            throw MessageTooLong(byteCount: byteCount, limitBytes: limitBytes)
        }
    }
}

/// A peer sent a message longer than is allowed.
public struct MessageTooLong: Error, Hashable, Sendable, CustomStringConvertible {
    /// The message's length as far as it is known, in bytes: it is at least that long.
    public let byteCount: Int

    /// The most that is allowed, in bytes.
    public let limitBytes: Int

    /// An error that names both.
    ///
    /// - Parameters:
    ///   - byteCount: The least length that the message can have.
    ///   - limitBytes: The most bytes that are allowed.
    public init(byteCount: Int, limitBytes: Int) {
        self.byteCount = byteCount
        self.limitBytes = limitBytes
    }

    /// A sentence.
    public var description: String {
        "the peer sent a message of at least \(byteCount) bytes; \(limitBytes) are allowed"
    }
}

/// A decoder returned a message without reading a byte: it would do so without end.
public struct EmptyMessage: Error, Hashable, Sendable, CustomStringConvertible {
    /// Makes one.
    public init() {}

    /// A sentence.
    public var description: String { "the decoder took a message of no bytes" }
}

/// The peer ended its direction in the middle of a message.
///
/// The bytes that had arrived of it stay with the connection: ``AsyncConnection/read(upTo:)``
/// returns it.
public struct UnexpectedEnd: Error, Hashable, Sendable, CustomStringConvertible {
    /// How many bytes had arrived that are not used.
    public let byteCount: Int

    /// An error that names the count.
    ///
    /// - Parameter byteCount: How many bytes had arrived.
    public init(byteCount: Int) { self.byteCount = byteCount }

    /// A sentence.
    public var description: String {
        "the peer ended in the middle of a message, of which \(byteCount) bytes are here"
    }
}
