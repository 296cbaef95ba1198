// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

public import TorsionCore

/// Takes messages of your own from a stream of bytes, for callbacks.
///
/// A message that arrives whole is read where it lies; only one that spans two reads is copied. It
/// holds at most the limit.
///
///     let messages = MessageBuffer(limitBytes: 64 * 1024)
///     _ = try messages.decode(bytes) { reader in
///         print(try reader.readInteger(UInt32.self))
///         return true
///     }
///
/// A class, since the callback that it makes may touch it: a protocol that stores it may set
/// ``StreamDecoder/isRaw`` from inside `messageReceived`.
///
/// - Complexity: Linear in the bytes, whatever the cuts, if each message is linear in its own: see
///   ``MessageDecoder``.
public final class MessageBuffer: StreamDecoder {
    /// The most bytes that a message may need, those behind the last `ByteReader.commit()` if it uses
    /// that.
    ///
    /// Bytes behind the message that a decoder looks at count: it is shown at most so many.
    public let limitBytes: Int

    private var partial = PartialFrame()
    private var attempt: DecodingAttempt
    /// Whether it has thrown `MessageTooLong` or `EmptyMessage`.
    private(set) var hasRefused = false

    /// A buffer for one connection.
    ///
    /// - Parameter limitBytes: The longest message, at least 1.
    public init(limitBytes: Int = 64 * 1024) {
        require(limitBytes > 0, "MessageBuffer: need a positive limit, got \(limitBytes)")
        self.limitBytes = limitBytes
        attempt = DecodingAttempt(limitBytes: limitBytes)
    }

    /// Bytes of a message that is not complete.
    public var partialByteCount: Int { partial.bytes.count }

    /// Takes out the bytes of a message that is not complete; empty inside `messageReceived`.
    ///
    /// For a switch of protocols at any other time, so that every byte is kept. Those before the
    /// last `ByteReader.commit()` are used.
    ///
    /// - Returns: The bytes.
    public func takePartial() -> Bytes {
        attempt = DecodingAttempt(limitBytes: limitBytes)
        return Bytes(partial.take())
    }

    /// Takes what arrived, and reads the messages in it one after the other.
    ///
    /// - Parameters:
    ///   - bytes: Borrowed for the call.
    ///   - message: Called at the first byte of each message, and again for one that was not complete.
    ///     It returns whether to go on.
    /// - Returns: How many bytes were used: all of them, unless `message` returned false, which stops
    ///   behind its message, or ``StreamDecoder/isRaw`` was set.
    /// - Throws: `MessageTooLong`, as soon as it is known; `EmptyMessage`; or what `message`
    ///   throws, except `ByteReaderError.needsMore(byteCount:)`.
    public func decode(
        _ bytes: RawSpan, _ message: (_ reader: inout ByteReader) throws -> Bool
    ) throws -> Int {
        var start = 0
        while start < bytes.byteCount, !isRaw {
            let rest = bytes.extracting(start..<bytes.byteCount)
            let held = partial.bytes.count
            guard attempt.isWorthwhile(having: held + rest.byteCount) else {
                partial.append(rest, limitBytes: limitBytes)
                return bytes.byteCount
            }
            let (used, goesOn) =
                held == 0
                ? try takeMessage(from: rest, message)
                : try takePartialMessage(with: rest, message)
            start += used
            if !goesOn { break }
        }
        return start
    }

    /// Takes the message at the beginning of some bytes, if it is complete; nothing is held.
    ///
    /// - Returns: How many bytes were used, and whether to go on.
    private func takeMessage(
        from bytes: RawSpan, _ message: (inout ByteReader) throws -> Bool
    ) throws -> (used: Int, goesOn: Bool) {
        var attempt = takeAttempt()
        let window = bytes.extracting(first: limitBytes)
        var reader = ByteReader(window, continuing: attempt.search)
        let goesOn = try run(&attempt, &reader, message)
        if goesOn == nil { self.attempt = attempt }
        return (attempt.usedByteCount, goesOn ?? true)
    }

    /// Adds to the message that is held, and takes it if it is complete then.
    ///
    /// What is added is needed, or as much again as is held: so a decoder that needs one byte after
    /// the other is not called for each, and little is copied that belongs to the next message.
    private func takePartialMessage(
        with bytes: RawSpan, _ message: (inout ByteReader) throws -> Bool
    ) throws -> (used: Int, goesOn: Bool) {
        let held = partial.bytes.count
        let wanted = max(attempt.neededByteCount - held, held, Self.leastAddition)
        let added = min(wanted, bytes.byteCount, limitBytes - held)
        partial.append(bytes.extracting(0..<added), limitBytes: limitBytes)
        // Taken out, since the callback may come back here.
        var attempt = takeAttempt()
        var whole = partial.take()
        defer { partial.recycle(&whole) }
        var reader = unsafe ByteReader(whole.span.bytes, continuing: attempt.search)
        let answer = try run(&attempt, &reader, message)
        let used = attempt.usedByteCount
        guard let goesOn = answer else {
            self.attempt = attempt
            partial.putBack(&whole, droppingFirst: used)
            return (added, true)
        }
        if used >= held { return (used - held, goesOn) }
        // It looked beyond its end: what was held behind that is the beginning of the next message.
        whole.removeLast(added)
        partial.putBack(&whole, droppingFirst: used)
        return (0, goesOn)
    }

    private static let leastAddition = 512

    private func takeAttempt() -> DecodingAttempt {
        defer { attempt = DecodingAttempt(limitBytes: limitBytes) }
        return attempt
    }

    private func run(
        _ attempt: inout DecodingAttempt, _ reader: inout ByteReader,
        _ message: (inout ByteReader) throws -> Bool
    ) throws -> Bool? {
        do {
            let answer = try attempt.decode(&reader, message)
            if answer != nil { shownCount &+= 1 }
            return answer
        } catch {
            hasRefused = attempt.hasRefused
            throw error
        }
    }

    /// Asserts what must hold between reads: held bytes are within the limit, and not a whole
    /// message.
    ///
    /// For simulations, after each step. O(1).
    public func checkInvariants() {
        require(
            partialByteCount <= limitBytes,
            "MessageBuffer: holds \(partialByteCount) bytes; \(limitBytes) are allowed")
        require(
            partialByteCount < attempt.neededByteCount,
            "MessageBuffer: holds \(partialByteCount) bytes, and waits for no more")
    }
}

extension MessageBuffer: StreamCutter {
    var isBetweenFrames: Bool { partialByteCount == 0 && !attempt.hasCommitted }
}
