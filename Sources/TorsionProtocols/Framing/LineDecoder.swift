// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

public import TorsionCore

/// Cuts a stream of bytes into lines.
///
/// A line that arrives whole is shown where it lies; only one that spans two reads is copied.
///
/// A class, since the callback that it makes may touch it: a protocol that stores it may set
/// ``StreamDecoder/isRaw`` from inside `lineReceived`.
///
/// - Complexity: Linear in the bytes, whatever the cuts.
public final class LineDecoder: StreamDecoder {
    /// The end of a line.
    public enum Terminator: Hashable, Sendable {
        /// A line feed; a carriage return right before it is left out too. Most tools send one of
        /// the two.
        case lineFeed
        /// Only a carriage return and a line feed: for protocols that say so.
        case carriageReturnLineFeed
        /// These bytes, from 1 to 64 of them, such as a zero byte or an empty line.
        ///
        /// The first place where all of them stand ends the line.
        case bytes(Bytes)

        /// The bytes themselves.
        var bytes: Bytes {
            switch self {
            case .lineFeed: "\n"
            case .carriageReturnLineFeed: "\r\n"
            case .bytes(let bytes): bytes
            }
        }
    }

    /// The longest line, its end not counted.
    public let limitBytes: Int

    /// The end of a line.
    public let terminator: Terminator

    private var partial = PartialFrame()
    /// Whether it has thrown ``LineTooLong``.
    private(set) var hasRefused = false

    /// What stands before the last byte of the terminator.
    private let endBeginning: [UInt8]
    private let lastByte: UInt8
    /// Whether a carriage return right before the end is left out.
    private let isLoose: Bool
    /// How many bytes of the end may be held beside a line of the limit.
    private let endAllowance: Int

    /// A decoder for one connection.
    ///
    /// - Parameters:
    ///   - limitBytes: The longest line, its end not counted; at least 1.
    ///   - terminator: The end of a line.
    public init(limitBytes: Int = 16 * 1024, terminator: Terminator = .lineFeed) {
        require(limitBytes > 0, "LineDecoder: need a positive limit, got \(limitBytes)")
        let end = [UInt8](terminator.bytes)
        guard let last = end.last, end.count <= 64 else {
            mistake("LineDecoder: a terminator has 1 to 64 bytes, not \(end.count)")
        }
        self.limitBytes = limitBytes
        self.terminator = terminator
        endBeginning = Array(end.dropLast())
        lastByte = last
        isLoose = terminator == .lineFeed
        endAllowance = isLoose ? 1 : end.count - 1
    }

    /// Bytes of a line that is not complete.
    public var partialByteCount: Int { partial.bytes.count }

    /// Takes out the bytes of a line that is not complete; empty inside `lineReceived`.
    ///
    /// For a switch of protocols at any other time, so that every byte is kept:
    ///
    ///     transport.switchProtocol(to: next, remaining: lines.takePartial().span)
    public func takePartial() -> Bytes { Bytes(partial.take()) }

    /// Takes what arrived, and shows the lines in it one after the other.
    ///
    /// - Parameters:
    ///   - bytes: Borrowed for the call.
    ///   - line: Called with each line, without its end, borrowed for that call.
    /// - Returns: How many bytes were used: all of them, unless `line` returned false, which stops
    ///   behind its line, or ``StreamDecoder/isRaw`` was set.
    /// - Throws: ``LineTooLong``, or what `line` throws.
    public func decode(
        _ bytes: RawSpan, _ line: (_ line: RawSpan) throws -> Bool
    ) throws -> Int {
        var start = 0
        while start < bytes.byteCount, !isRaw {
            guard let end = endOfLine(in: bytes, from: start) else {
                try keep(bytes.extracting(start..<bytes.byteCount))
                return bytes.byteCount
            }
            let rest = start
            start = end + 1
            if try !show(bytes, rest..<end, to: line) { break }
        }
        return start
    }

    /// Asserts what must hold between reads: a held line is incomplete and within the limit.
    ///
    /// For simulations, after each step. O(*n*) in ``partialByteCount``.
    public func checkInvariants() {
        require(
            partialByteCount <= limitBytes + endAllowance,
            "LineDecoder: holds \(partialByteCount) bytes; \(limitBytes) are allowed")
        let held = Bytes(partial.bytes)
        require(
            held.span.firstIndex(of: terminator.bytes.span) == nil,
            "LineDecoder: a whole line is held")
    }

    /// The position of the last byte of what ends a line.
    private func endOfLine(in bytes: RawSpan, from start: Int) -> Int? {
        var from = start
        while let position = bytes.firstIndex(of: lastByte, from: from) {
            if endBeginning.isEmpty || isEnd(in: bytes, from: start, at: position) {
                return position
            }
            from = position + 1
        }
        return nil
    }

    /// Whether the terminator ends at a position, where its last byte stands; some of it may be held.
    private func isEnd(in bytes: RawSpan, from start: Int, at position: Int) -> Bool {
        let held = partial.bytes.count
        let first = position - start + held - endBeginning.count
        guard first >= 0 else { return false }
        for (offset, byte) in endBeginning.enumerated() {
            let place = first + offset
            let found = place < held ? partial.bytes[place] : bytes[start + place - held]
            if found != byte { return false }
        }
        return true
    }

    private func show(
        _ bytes: RawSpan, _ range: Range<Int>, to line: (RawSpan) throws -> Bool
    ) throws -> Bool {
        guard !partial.bytes.isEmpty else {
            return try show(whole: bytes.extracting(range), to: line)
        }
        try keep(bytes.extracting(range))
        // Taken out, since the callback may come back here.
        var whole = partial.take()
        defer { partial.recycle(&whole) }
        return unsafe try show(whole: whole.span.bytes, to: line)
    }

    /// Shows a line with its end, the last byte of that left out.
    private func show(whole: RawSpan, to line: (RawSpan) throws -> Bool) throws -> Bool {
        let count = whole.byteCount
        let length: Int
        if isLoose {
            length = whole.last == Self.carriageReturn ? count - 1 : count
        } else {
            length = count - endBeginning.count
        }
        guard length <= limitBytes else { throw tooLong(byteCount: length) }
        shownCount &+= 1
        return try line(whole.extracting(0..<length))
    }

    private func keep(_ bytes: RawSpan) throws {
        let count = partial.bytes.count + bytes.byteCount
        // More than the limit: the last bytes may be the beginning of the end.
        guard count <= limitBytes + endAllowance else {
            throw tooLong(byteCount: count - beginningOfEnd(in: bytes))
        }
        partial.append(bytes, limitBytes: limitBytes + endAllowance)
    }

    /// How many of the last bytes may belong to the end of the line.
    private func beginningOfEnd(in bytes: RawSpan) -> Int {
        if isLoose { return bytes.last == Self.carriageReturn ? 1 : 0 }
        var length = min(endBeginning.count, bytes.byteCount)
        while length > 0, !ends(bytes, in: endBeginning.prefix(length)) { length -= 1 }
        return length
    }

    private func ends(_ bytes: RawSpan, in end: ArraySlice<UInt8>) -> Bool {
        let start = bytes.byteCount - end.count
        return end.indices.allSatisfy { bytes[start + $0] == end[$0] }
    }

    private func tooLong(byteCount: Int) -> LineTooLong {
        hasRefused = true
        return LineTooLong(byteCount: byteCount, limitBytes: limitBytes)
    }

    private static let carriageReturn = UInt8(ascii: "\r")
}

extension LineDecoder: StreamCutter {}

/// A peer sent a line longer than is allowed.
public struct LineTooLong: Error, Hashable, Sendable, CustomStringConvertible {
    /// How much of the line had arrived when it was given up, its end not counted.
    ///
    /// The line is at least that long.
    public let byteCount: Int

    /// The limit.
    public let limitBytes: Int

    /// An error that names both.
    ///
    /// - Parameters:
    ///   - byteCount: How many bytes of the line had arrived.
    ///   - limitBytes: How many are allowed.
    public init(byteCount: Int, limitBytes: Int) {
        self.byteCount = byteCount
        self.limitBytes = limitBytes
    }

    /// A sentence.
    public var description: String {
        "the peer sent a line of at least \(byteCount) bytes; \(limitBytes) are allowed"
    }
}
