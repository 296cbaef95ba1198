// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

public import TorsionCore

/// Cuts a stream of bytes into lines.
///
/// A line that arrives whole is shown where it lies; only one that spans two reads is copied.
///
/// A class, since the callback that it makes may touch it: a protocol that stores it may set
/// ``isRaw`` from inside `lineReceived`.
///
/// - Complexity: Linear in the bytes, whatever the cuts.
public final class LineDecoder {
    /// What ends a line.
    public enum Terminator: Hashable, Sendable {
        /// A line feed; a carriage return right before it is left out too. What most tools send.
        case lineFeed
        /// A carriage return and a line feed, and nothing else: for protocols that say so.
        case carriageReturnLineFeed
    }

    /// The longest line, its end not counted.
    public let limitBytes: Int

    /// What ends a line.
    public let terminator: Terminator

    /// Whether what follows is not lines: it goes to `rawDataReceived` as it comes.
    ///
    /// You may set it inside `lineReceived` and `rawDataReceived`: what is behind the bytes of that call
    /// is cut accordingly. If you set it elsewhere, the beginning of a line that is held is raw
    /// too: see ``takePartial()``. If you know how many raw bytes follow, use ``expect(rawBytes:)``.
    public var isRaw: Bool {
        get { mode.isRaw }
        set { mode = newValue ? .raw : .frames }
    }

    /// How many raw bytes come before the next line, those that `rawDataReceived` is called with
    /// not counted: 0 while lines are cut, nil if ``isRaw`` was set.
    public var expectedRawByteCount: Int? { mode.expectedRawByteCount }

    /// Delivers the next `count` bytes to `rawDataReceived`, then cuts lines again.
    ///
    /// The bytes arrive in as many calls as the network makes of them, and ``isRaw`` is false in the
    /// last one already:
    ///
    ///     func lineReceived(_ line: RawSpan, from transport: any StreamTransport) {
    ///         lines.expect(rawBytes: bodyByteCount(of: line))
    ///         answerIfComplete(transport)
    ///     }
    ///
    ///     func rawDataReceived(_ bytes: RawSpan, from transport: any StreamTransport) {
    ///         body += bytes
    ///         answerIfComplete(transport)
    ///     }
    ///
    ///     func answerIfComplete(_ transport: any StreamTransport) {
    ///         if !lines.isRaw { transport.write("\(body.count) bytes\r\n") }
    ///     }
    ///
    /// Call it where you may set ``isRaw``. It replaces an earlier expectation. If you call
    /// ``decode(_:_:)`` yourself, you take the raw bytes yourself, too, and call this again with how
    /// many are left.
    ///
    /// - Parameter count: 0 or more; with 0 the next line follows and `rawDataReceived` is not
    ///   called. A negative count traps: check a number that a peer has sent.
    public func expect(rawBytes count: Int) { mode = .expecting(rawBytes: count) }

    /// How many lines were shown, the one that is being shown included.
    public private(set) var shownCount = 0

    var mode = CuttingMode.frames
    var passage = Passage()
    private var partial = PartialFrame()

    /// A decoder for one connection.
    ///
    /// - Precondition: `limitBytes` is positive.
    public init(limitBytes: Int = 16 * 1024, terminator: Terminator = .lineFeed) {
        require(limitBytes > 0, "LineDecoder: need a positive limit, got \(limitBytes)")
        self.limitBytes = limitBytes
        self.terminator = terminator
    }

    /// Bytes of a line that is not complete.
    public var partialByteCount: Int { partial.bytes.count }

    /// Takes out the bytes of a line that is not complete; none inside `lineReceived`.
    ///
    /// For a switch of protocols at any other time, so that no byte is lost:
    ///
    ///     transport.switchProtocol(to: next, remaining: lines.takePartial().span)
    public func takePartial() -> Bytes { Bytes(partial.take()) }

    /// Takes what arrived, and shows the lines in it one after the other.
    ///
    /// - Parameters:
    ///   - bytes: Borrowed for the call.
    ///   - line: Called with each line, without its end, borrowed for that call.
    /// - Returns: How many bytes were used: all of them, unless `line` returned false, which stops
    ///   behind its line, or ``isRaw`` was set.
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

    /// Asserts what must hold between reads: no whole line is held, and none beyond the limit.
    ///
    /// For simulations, after each step. O(*n*) in ``partialByteCount``.
    public func checkInvariants() {
        require(
            partialByteCount <= limitBytes + 1,
            "LineDecoder: holds \(partialByteCount) bytes; \(limitBytes) are allowed")
        let held = partial.bytes
        let hasEnd = held.indices.contains { position in
            guard held[position] == Self.lineFeed else { return false }
            return terminator == .lineFeed
                || position > 0 && held[position - 1] == Self.carriageReturn
        }
        require(!hasEnd, "LineDecoder: a whole line is held")
    }

    /// The position of the line feed that ends a line.
    private func endOfLine(in bytes: RawSpan, from start: Int) -> Int? {
        var from = start
        while let position = bytes.firstIndex(of: Self.lineFeed, from: from) {
            if terminator == .lineFeed { return position }
            let previous = position > start ? bytes[position - 1] : partial.bytes.last
            if previous == Self.carriageReturn { return position }
            from = position + 1
        }
        return nil
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

    private func show(whole: RawSpan, to line: (RawSpan) throws -> Bool) throws -> Bool {
        let count = whole.byteCount
        let endsInReturn = count > 0 && whole[count - 1] == Self.carriageReturn
        let length = endsInReturn ? count - 1 : count
        guard length <= limitBytes else {
            throw LineTooLong(byteCount: length, limitBytes: limitBytes)
        }
        shownCount &+= 1
        return try line(whole.extracting(0..<length))
    }

    private func keep(_ bytes: RawSpan) throws {
        let count = partial.bytes.count + bytes.byteCount
        // One more than the limit: the last byte may be the carriage return of the end.
        guard count <= limitBytes + 1 else {
            let endsInReturn = bytes[bytes.byteCount - 1] == Self.carriageReturn
            throw LineTooLong(byteCount: endsInReturn ? count - 1 : count, limitBytes: limitBytes)
        }
        partial.append(bytes, limitBytes: limitBytes + 1)
    }

    private static let lineFeed = UInt8(ascii: "\n")
    private static let carriageReturn = UInt8(ascii: "\r")
}

extension LineDecoder: StreamCutter {}

/// A peer sent a line longer than is allowed.
public struct LineTooLong: Error, Hashable, Sendable, CustomStringConvertible {
    /// How much of the line had arrived when it was given up, its end not counted.
    ///
    /// The line is at least that long.
    public let byteCount: Int

    /// What is allowed.
    public let limitBytes: Int

    /// An error that names both.
    public init(byteCount: Int, limitBytes: Int) {
        self.byteCount = byteCount
        self.limitBytes = limitBytes
    }

    /// A sentence.
    public var description: String {
        "the peer sent a line of at least \(byteCount) bytes; \(limitBytes) are allowed"
    }
}
