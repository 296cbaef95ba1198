// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

public import TorsionCore

/// Cuts a stream of bytes into frames: netstrings, or what a length before it delimits.
///
/// A frame that arrives whole is shown where it lies; only one that spans two reads is copied. It
/// holds at most one frame and its header, and grows with the bytes that have arrived, not with the
/// length that a peer announces.
///
///     let frames = FrameDecoder(.lengthPrefix(.uint16))
///     _ = try frames.decode(bytes) { frame in
///         print(frame.byteCount)
///         return true
///     }
///
/// A class, since the callback that it makes may touch it: a protocol that stores it may set
/// ``StreamDecoder/isRaw`` from inside `frameReceived`.
///
/// - Complexity: Linear in the bytes, whatever the cuts.
public final class FrameDecoder: StreamDecoder {
    /// The frames' form and limit.
    public let format: FrameFormat

    private var partial = PartialFrame()
    /// Whether it has thrown a ``FrameError``.
    private(set) var hasRefused = false
    /// That of the frame which is held, once enough of it is there.
    private var extent: FrameFormat.Extent?

    /// A decoder for one connection.
    ///
    /// - Parameter format: How frames look, and how long one may be.
    public init(_ format: FrameFormat) { self.format = format }

    /// Bytes of a frame that is not complete, its header included.
    public var partialByteCount: Int { partial.bytes.count }

    /// Takes out the bytes of a frame that is not complete, as they arrived; empty inside
    /// `frameReceived`.
    ///
    /// For a switch of protocols at any other time, so that every byte is kept.
    public func takePartial() -> Bytes {
        extent = nil
        return Bytes(partial.take())
    }

    /// Takes what arrived, and shows the frames in it one after the other.
    ///
    /// - Parameters:
    ///   - bytes: Borrowed for the call.
    ///   - frame: Called with each frame, borrowed for that call: the payload; with the header in
    ///     front of it in a format of ``FrameFormat/header(byteCount:length:at:counting:limitBytes:)``.
    /// - Returns: How many bytes were used: all of them, unless `frame` returned false, which stops
    ///   behind its frame, or ``StreamDecoder/isRaw`` was set.
    /// - Throws: ``FrameError``, as soon as the bytes that show it are there; or what `frame` throws.
    public func decode(
        _ bytes: RawSpan, _ frame: (_ frame: RawSpan) throws -> Bool
    ) throws -> Int {
        var start = 0
        while start < bytes.byteCount, !isRaw {
            let rest = bytes.extracting(start..<bytes.byteCount)
            guard partial.bytes.isEmpty else {
                start += try fillPartial(from: rest)
                if try !showPartial(to: frame) { break }
                continue
            }
            let extent = try refusing { () throws(FrameError) in try format.extent(of: rest) }
            guard let extent, extent.byteCount <= rest.byteCount else {
                partial.append(rest, limitBytes: extent?.byteCount ?? rest.byteCount)
                self.extent = extent
                return bytes.byteCount
            }
            start += extent.byteCount
            if try !show(rest.extracting(0..<extent.byteCount), extent, to: frame) { break }
        }
        return start
    }

    /// Asserts what must hold between reads: what is held is the beginning of one frame.
    ///
    /// For simulations, after each step. O(1).
    public func checkInvariants() {
        let held = partialByteCount
        guard let extent else {
            return require(
                held == 0 || held < format.neededByteCount(having: held),
                "FrameDecoder: holds \(held) bytes, and does not know their length")
        }
        require(
            (extent.headerByteCount..<extent.byteCount).contains(held),
            "FrameDecoder: holds \(held) bytes of a frame of \(extent.byteCount)")
        require(
            extent.payloadByteCount <= format.limitBytes,
            "FrameDecoder: waits for a frame of \(extent.payloadByteCount) bytes")
    }

    /// Adds what belongs to the frame that is held, or to its header while that is not complete.
    ///
    /// - Returns: How many bytes that were.
    private func fillPartial(from bytes: RawSpan) throws -> Int {
        let held = partial.bytes.count
        let needed = extent?.byteCount ?? format.neededByteCount(having: held)
        let count = min(needed - held, bytes.byteCount)
        partial.append(bytes.extracting(0..<count), limitBytes: needed)
        if extent == nil {
            extent = try refusing { () throws(FrameError) in try partial.extent(by: format) }
        }
        return count
    }

    /// Shows the frame that is held, if it is complete.
    ///
    /// - Returns: Whether to go on.
    private func showPartial(to frame: (RawSpan) throws -> Bool) throws -> Bool {
        guard let extent, extent.byteCount == partial.bytes.count else { return true }
        // Taken out, since the callback may come back here.
        self.extent = nil
        var whole = partial.take()
        defer { partial.recycle(&whole) }
        return try unsafe show(whole.span.bytes, extent, to: frame)
    }

    /// Notes what is wrong with the stream, and not with what the callback does.
    @inline(__always)
    private func refusing<Result>(
        _ body: () throws(FrameError) -> Result
    ) throws(FrameError) -> Result {
        do throws(FrameError) { return try body() } catch {
            hasRefused = true
            throw error
        }
    }

    private func show(
        _ whole: RawSpan, _ extent: FrameFormat.Extent, to frame: (RawSpan) throws -> Bool
    ) throws -> Bool {
        let range = try refusing { () throws(FrameError) in
            try format.shownRange(of: whole, extent)
        }
        shownCount &+= 1
        return try frame(whole.extracting(range))
    }
}

extension FrameDecoder: StreamCutter {}

extension PartialFrame {
    fileprivate func extent(by format: FrameFormat) throws(FrameError) -> FrameFormat.Extent? {
        try unsafe format.extent(of: bytes.span.bytes)
    }
}
