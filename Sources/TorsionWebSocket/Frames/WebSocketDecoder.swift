// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

internal import TorsionCore

/// Makes messages and control frames of what a peer sends: RFC 6455 §5.
///
/// Pure: bytes in, events out. The events are the same however the bytes are cut, and work is linear in
/// their number. A message that arrives whole in one frame and one read costs no memory of its own: a
/// client's is unmasked into the caller's scratch, a server's stays where it is.
@safe
package struct WebSocketDecoder {
    /// Where the payload of an event is.
    package enum Place: Equatable {
        /// In the bytes that were given.
        case input(Range<Int>)
        /// At the scratch's beginning, so many bytes.
        case scratch(Int)
        /// In ``takeHeld()``.
        case held
    }

    package enum Event: Equatable {
        /// Everything is used; more has to come.
        case needsMore
        case message(isText: Bool, isCompressed: Bool, Place)
        case ping(Place)
        case pong(Place)
        /// Nothing behind it is looked at. The code is `nil` in an empty frame.
        case close(UInt16?, reason: Place)
    }

    private enum State { case header, payload, over }

    private let sender: FrameHeader.Sender
    private let messageLimitBytes: Int
    private let frameLimitBytes: Int
    private let mayBeCompressed: Bool
    private let shortLimitBytes: Int
    private let compressedLimitBytes: Int

    private var state = State.header
    /// Of a message that is not whole: whether there is one, and what it is.
    private var isInMessage = false
    private var isText = false
    private var isCompressed = false
    private var check = TextCheck()
    /// Of the data frame whose payload is arriving.
    private var isFinal = false
    private var mask = FrameMask(key: 0)
    private var rest = 0
    /// What has come of a header, or of a control frame.
    private var partial: [UInt8] = []
    private var held: PayloadBuffer?

    /// The most that a control frame has, with its header.
    package static let controlFrameLimitBytes = 2 + 4 + 125

    /// - Parameters:
    ///   - sender: Whose frames these are.
    ///   - messageLimitBytes: The most bytes of a message.
    ///   - frameLimitBytes: The most bytes of one frame's payload.
    ///   - mayBeCompressed: Whether compression was agreed on.
    package init(
        from sender: FrameHeader.Sender, messageLimitBytes: Int, frameLimitBytes: Int,
        mayBeCompressed: Bool = false
    ) {
        self.sender = sender
        self.messageLimitBytes = messageLimitBytes
        self.frameLimitBytes = frameLimitBytes
        self.mayBeCompressed = mayBeCompressed
        shortLimitBytes = min(messageLimitBytes, frameLimitBytes)
        compressedLimitBytes = Self.compressedLimit(for: messageLimitBytes)
    }

    /// The most that a message of so many bytes has when it is compressed.
    ///
    /// What cannot be compressed becomes longer, by an eighth at most: RFC 1951 §3.2.6.
    package static func compressedLimit(for limit: Int) -> Int {
        let (sum, overflow) = limit.addingReportingOverflow(limit / 8 + 64)
        return overflow ? .max : sum
    }

    /// What is held of a message or a frame that is not whole.
    package var heldByteCount: Int { partial.count + (held?.count ?? 0) }

    /// The payload of the last message, if it is in the place ``Place/held``.
    package mutating func takeHeld() -> PayloadBuffer? { held.take() }

    /// Finds the next event.
    ///
    /// - Parameters:
    ///   - bytes: What has arrived.
    ///   - position: Where to go on; moved behind what was used.
    ///   - scratch: Room for a control frame at least; for each message up to its size.
    /// - Returns: ``Event/needsMore`` when everything is used.
    /// - Throws: What is wrong; the decoder is used no more then.
    @inline(__always)
    package mutating func next(
        _ bytes: RawSpan, _ position: inout Int, scratch: UnsafeMutableRawBufferPointer
    ) throws(WebSocketError) -> Event {
        if state == .header, partial.isEmpty, position < bytes.byteCount {
            let event = try takeFrame(bytes, &position, scratch)
            if let event { return event }
        }
        return try nextSlowly(bytes, &position, scratch)
    }

    /// Takes a short message that is whole, in one frame, which most are: what ``next(_:_:scratch:)``
    /// does, for a third of its instructions.
    ///
    /// - Parameters:
    ///   - bytes: What has arrived.
    ///   - position: Where to go on; moved behind the frame if there is such a message.
    ///   - scratch: As for `next`.
    /// - Returns: The opcode in the upper half, the payload's length in the lower; a client's is in the
    ///   scratch, a server's right in front of the new position. -1 for whatever else there is, wrong
    ///   frames too, of which nothing is used.
    @inline(__always)
    package mutating func takeShortMessage(
        _ bytes: RawSpan, _ position: inout Int, scratch: UnsafeMutableRawBufferPointer
    ) -> Int {
        guard state == .header, !isInMessage, partial.isEmpty else { return -1 }
        return unsafe bytes.withUnsafeBytes { bytes in
            let available = bytes.count &- position
            guard available >= 6 else { return -1 }
            let start = unsafe bytes.baseAddress! + position
            let first = unsafe start.load(as: UInt8.self)
            let second = unsafe start.load(fromByteOffset: 1, as: UInt8.self)
            let isMasked = sender == .client
            let count = Int(second & 0x7f)
            let header = isMasked ? 6 : 2
            // A final frame of text or binary, masked or not as it is to be, in the short form.
            guard first &- 0x81 < 2, second & 0x80 == (isMasked ? 0x80 : 0), count < 126,
                available >= header &+ count, count <= shortLimitBytes
            else { return -1 }
            var payload = unsafe start + header
            var seen = UInt64.highBits
            if isMasked {
                let key = unsafe start.loadUnaligned(fromByteOffset: 2, as: UInt32.self)
                let target = scratch.baseAddress!
                seen = unsafe FrameMask(key: UInt32(littleEndian: key)).copy(
                    from: payload, to: target, count: count)
                payload = UnsafeRawPointer(target)
            }
            if first == 0x81, seen & .highBits != 0 {
                var check = TextCheck()
                guard unsafe check.add(payload, count: count), check.isComplete else { return -1 }
            }
            position &+= header &+ count
            return Int(first & 0x0f) &<< 32 | count
        }
    }

    /// A frame that begins in these bytes.
    ///
    /// - Returns: `nil` if it is neither a whole control frame nor a whole message.
    @inline(__always)
    private mutating func takeFrame(
        _ bytes: RawSpan, _ position: inout Int, _ scratch: UnsafeMutableRawBufferPointer
    ) throws(WebSocketError) -> Event? {
        let available = bytes.byteCount &- position
        // There is at least one byte, hence an address, and a scratch has one.
        let start = bytes.withUnsafeBytes { $0.baseAddress! } + position
        let header = try unsafe FrameHeader.read(
            start, count: available, from: sender, mayBeCompressed: mayBeCompressed)
        guard let header else {
            unsafe hold(start, count: available)
            position = bytes.byteCount
            return nil
        }
        let count = header.payloadByteCount
        if header.isControl {
            guard available &- header.byteCount >= count else {
                unsafe hold(start, count: available)
                position = bytes.byteCount
                return nil
            }
        } else {
            try begin(header)
            let isWhole =
                header.isFinal && !isInMessage
                && available &- header.byteCount >= count
                && (sender == .server || count <= scratch.count)
            guard isWhole else {
                position &+= header.byteCount
                beginPayload(header)
                return nil
            }
        }
        let payload = unsafe start + header.byteCount
        let first = position &+ header.byteCount
        position = first &+ count
        var place = Place.input(first..<position)
        var seen = UInt64.highBits
        if sender == .client {
            seen = unsafe header.mask.copy(
                from: payload, to: scratch.baseAddress!, count: count)
            place = .scratch(count)
        }
        if header.isControl {
            let bytes = unsafe sender == .client ? UnsafeRawPointer(scratch.baseAddress!) : payload
            return try unsafe control(header.opcode, bytes, count, place)
        }
        let isText = header.opcode == FrameOpcode.text
        if isText, seen & .highBits != 0, !header.isCompressed {
            let text = unsafe sender == .client ? UnsafeRawPointer(scratch.baseAddress!) : payload
            var check = TextCheck()
            guard unsafe check.add(text, count: count), check.isComplete else { throw .notUTF8 }
        }
        return .message(isText: isText, isCompressed: header.isCompressed, place)
    }

    /// Checks a data frame against what has come before, and the limits.
    @inline(__always)
    private func begin(_ header: FrameHeader) throws(WebSocketError) {
        if isInMessage {
            guard header.opcode == FrameOpcode.continuation else { throw .unfinishedMessage }
        } else {
            guard header.opcode != FrameOpcode.continuation else { throw .unexpectedContinuation }
        }
        let count = header.payloadByteCount
        guard count <= frameLimitBytes else { throw .frameTooLong(limitBytes: frameLimitBytes) }
        let isCompressed = isInMessage ? isCompressed : header.isCompressed
        let limit = isCompressed ? compressedLimitBytes : messageLimitBytes
        guard count <= limit &- (isInMessage ? held?.count ?? 0 : 0) else {
            throw .messageTooLong(limitBytes: messageLimitBytes)
        }
    }

    private mutating func beginPayload(_ header: FrameHeader) {
        if !isInMessage {
            isInMessage = true
            isText = header.opcode == FrameOpcode.text
            isCompressed = header.isCompressed
            check = TextCheck()
        }
        isFinal = header.isFinal
        mask = header.mask
        rest = header.payloadByteCount
        state = .payload
    }

    private mutating func hold(_ start: UnsafeRawPointer, count: Int) {
        partial += unsafe UnsafeRawBufferPointer(start: start, count: count)
    }

    // MARK: What is cut

    @inline(never)
    private mutating func nextSlowly(
        _ bytes: RawSpan, _ position: inout Int, _ scratch: UnsafeMutableRawBufferPointer
    ) throws(WebSocketError) -> Event {
        while true {
            switch state {
            case .over:
                position = bytes.byteCount
                return .needsMore
            case .payload:
                try takePayload(bytes, &position)
                guard rest == 0 else { return .needsMore }
                state = .header
                if isFinal { return try endMessage() }
            case .header:
                guard position < bytes.byteCount else { return .needsMore }
                if partial.isEmpty {
                    let event = try takeFrame(bytes, &position, scratch)
                    if let event { return event }
                } else {
                    let event = try takePartial(bytes, &position, scratch)
                    if let event { return event }
                }
            }
        }
    }

    private mutating func takePayload(
        _ bytes: RawSpan, _ position: inout Int
    ) throws(WebSocketError) {
        let count = min(rest, bytes.byteCount - position)
        guard count > 0 else { return }
        let buffer = held ?? PayloadBuffer(expecting: rest)
        held = buffer
        let target = unsafe buffer.append(count: count)
        // It has at least one byte, hence an address.
        let source = bytes.withUnsafeBytes { $0.baseAddress! } + position
        let seen = unsafe mask.copy(from: source, to: target, count: count)
        mask = mask.advanced(by: count)
        rest -= count
        position += count
        guard isText, !isCompressed else { return }
        if check.isComplete, seen & .highBits == 0 { return }
        guard unsafe check.add(target, count: count) else { throw .notUTF8 }
    }

    private mutating func endMessage() throws(WebSocketError) -> Event {
        isInMessage = false
        guard !isText || isCompressed || check.isComplete else { throw .notUTF8 }
        if held == nil { return .message(isText: isText, isCompressed: isCompressed, .scratch(0)) }
        return .message(isText: isText, isCompressed: isCompressed, .held)
    }

    /// Adds to a header or a control frame that has come in part.
    private mutating func takePartial(
        _ bytes: RawSpan, _ position: inout Int, _ scratch: UnsafeMutableRawBufferPointer
    ) throws(WebSocketError) -> Event? {
        while position < bytes.byteCount {
            partial.append(bytes[position])
            position += 1
            let (sender, mayBeCompressed) = (sender, mayBeCompressed)
            let outcome: Result<FrameHeader?, WebSocketError> = partial.withUnsafeBytes { bytes in
                // It has at least one byte, hence an address.
                let start = bytes.baseAddress!
                return Result { () throws(WebSocketError) in
                    try unsafe FrameHeader.read(
                        start, count: bytes.count, from: sender, mayBeCompressed: mayBeCompressed)
                }
            }
            guard let header = try outcome.get() else { continue }
            guard header.isControl else {
                partial = []
                try begin(header)
                beginPayload(header)
                return nil
            }
            guard partial.count == header.byteCount + header.payloadByteCount else { continue }
            let count = header.payloadByteCount
            partial.withUnsafeBytes { bytes in
                // Both have an address: a header is there, and room for a control frame.
                _ = unsafe header.mask.copy(
                    from: bytes.baseAddress! + header.byteCount, to: scratch.baseAddress!,
                    count: count)
            }
            partial = []
            return try unsafe control(
                header.opcode, UnsafeRawPointer(scratch.baseAddress!), count, .scratch(count))
        }
        return nil
    }

    private mutating func control(
        _ opcode: UInt8, _ payload: UnsafeRawPointer, _ count: Int, _ place: Place
    ) throws(WebSocketError) -> Event {
        switch opcode {
        case FrameOpcode.ping: return .ping(place)
        case FrameOpcode.pong: return .pong(place)
        default: break
        }
        state = .over
        guard count > 0 else { return .close(nil, reason: place) }
        guard count >= 2 else { throw .badCloseFrame }
        let code = UInt16(bigEndian: unsafe payload.loadUnaligned(as: UInt16.self))
        guard WebSocketCloseCode(rawValue: code).maySend else { throw .badCloseFrame }
        var check = TextCheck()
        guard unsafe check.add(payload + 2, count: count - 2), check.isComplete else {
            throw .notUTF8
        }
        return .close(code, reason: place)
    }
}
