// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

internal import TorsionCore

/// Takes a proxy's header, of either version, from the beginning of a stream.
///
///     var decoder = ProxyHeaderDecoder()
///     if let found = try decoder.decode(bytes) {
///         serve(found.header, bytes.extracting(found.usedByteCount..<bytes.byteCount))
///     }
///
/// Strict: what does not match exactly is an error as soon as the byte that shows it is there. It
/// holds at most the limit.
///
/// - Complexity: Linear in the bytes of the header, whatever the cuts.
public struct ProxyHeaderDecoder {
    /// The longest header of version 2.
    ///
    /// One of version 1 has at most 107 bytes.
    public let limitBytes: Int

    private var held = PartialFrame()
    private var state = State.start

    private enum State {
        case start
        /// Version 1: until the end of the line.
        case line
        /// Version 2: the sixteen bytes that say how long it is.
        case prefix
        /// Version 2: so many bytes in all.
        case binary(byteCount: Int)
        case done
    }

    /// Section 2.1: the longest line, its end included.
    private static let longestLine = 107

    /// A decoder for one connection.
    ///
    /// - Parameter limitBytes: The longest header; a longer one fails.
    /// - Precondition: `limitBytes` is at least 16, the length of the shortest header.
    public init(limitBytes: Int = 4096) {
        require(
            limitBytes >= BinaryProxyHeader.prefixByteCount,
            "ProxyHeaderDecoder: need a limit of 16 bytes at least, got \(limitBytes)")
        self.limitBytes = limitBytes
    }

    /// Bytes that have arrived of a header that is not complete.
    public var partialByteCount: Int { held.bytes.count }

    /// Takes what arrived.
    ///
    /// After the header was found, or an error, a further call is the caller's mistake.
    ///
    /// - Parameter bytes: Borrowed for the call.
    /// - Returns: The header and how many of these bytes belong to it, once it is complete.
    /// - Throws: ``ProxyHeaderError``.
    public mutating func decode(
        _ bytes: RawSpan
    ) throws(ProxyHeaderError) -> (header: ProxyHeader, usedByteCount: Int)? {
        var used = 0
        while used < bytes.byteCount {
            let count = min(wantedByteCount - held.bytes.count, bytes.byteCount - used)
            held.append(bytes.extracting(used..<used + count), limitBytes: limitBytes)
            used += count
            do {
                guard let header = try step() else { continue }
                finish()
                return (header, used)
            } catch {
                finish()
                throw error
            }
        }
        return nil
    }

    /// Asserts what must hold between calls, before the header's end.
    func checkInvariants() {
        let most: Int
        switch state {
        case .start: most = 0
        case .line: most = Self.longestLine - 1
        case .prefix: most = BinaryProxyHeader.prefixByteCount - 1
        case .binary(let byteCount): most = min(byteCount, limitBytes) - 1
        case .done: most = 0
        }
        require(
            held.bytes.count <= most,
            "ProxyHeaderDecoder: holds \(held.bytes.count) bytes; \(most) are allowed")
    }

    private mutating func finish() {
        state = .done
        held = PartialFrame()
    }

    /// How many bytes are to be held before the next step.
    private var wantedByteCount: Int {
        switch state {
        // One by one, so that what is no header is refused at once, and what follows is not touched.
        case .start, .line: held.bytes.count + 1
        case .prefix: held.bytes.count + 1
        case .binary(let byteCount): byteCount
        case .done: mistake("ProxyHeaderDecoder: decode after the header's end")
        }
    }

    private mutating func step() throws(ProxyHeaderError) -> ProxyHeader? {
        let count = held.bytes.count
        let last = held.bytes[count - 1]
        switch state {
        case .start:
            state = last == TextProxyHeader.start[0] ? .line : .prefix
            return try step()
        case .line:
            return try lineStep(count, last)
        case .prefix:
            return try prefixStep(count, last)
        case .binary(let byteCount):
            guard count == byteCount else { return nil }
            return try BinaryProxyHeader(held.bytes).decode()
        case .done:
            return nil
        }
    }

    private func lineStep(_ count: Int, _ last: UInt8) throws(ProxyHeaderError) -> ProxyHeader? {
        let start = TextProxyHeader.start
        if count <= start.count {
            guard last == start[count - 1] else { throw .notAHeader(byteCount: count) }
            return nil
        }
        guard last == UInt8(ascii: "\n") else {
            guard count < Self.longestLine else {
                throw .tooLong(byteCount: count + 1, limitBytes: Self.longestLine)
            }
            return nil
        }
        // A line feed alone ends nothing: section 2.1.
        guard held.bytes[count - 2] == UInt8(ascii: "\r") else {
            throw .malformed("end of the line", byteCount: count)
        }
        return try TextProxyHeader.decode(held.bytes)
    }

    private mutating func prefixStep(
        _ count: Int, _ last: UInt8
    ) throws(ProxyHeaderError) -> ProxyHeader? {
        let signature = BinaryProxyHeader.signature
        if count <= signature.count {
            guard last == signature[count - 1] else { throw .notAHeader(byteCount: count) }
            return nil
        }
        let header = BinaryProxyHeader(held.bytes)
        switch count {
        case 13: try header.checkCommand()
        case 14: try header.checkFamily()
        case BinaryProxyHeader.prefixByteCount:
            let byteCount = count + header.followingByteCount
            guard byteCount <= limitBytes else {
                throw .tooLong(byteCount: byteCount, limitBytes: limitBytes)
            }
            state = .binary(byteCount: byteCount)
            return try step()
        default: break
        }
        return nil
    }
}
