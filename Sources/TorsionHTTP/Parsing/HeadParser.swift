// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

internal import TorsionCore

// A message's head, found in place. Nothing is copied and nothing allocated: what is found are the
// places of the parts, 8 bytes a field.
//
// A line is judged when its LF is there, and so the verdict is the same however the bytes were cut. A
// head that comes in pieces is kept by the connection, and parsed on from the line at which it stopped:
// each line once.

/// Finds the parts of one head, of a request or of an answer; strict, see ``RequestError``.
///
/// Both differ in their first line, and in what is made of `Host`, which means nothing in an answer.
package struct HeadParser {
    package enum Outcome: Equatable {
        /// Lines are missing.
        case incomplete
        case complete
        case failed(RequestError)
    }

    static let longestMethodByteCount = 32
    /// What a client of TLS says first: RFC 8446 §5.1.
    ///
    /// No method begins with it, and the line that it begins may never end: the client waits for an answer,
    /// and gets one at once.
    private static let handshakeByte: UInt8 = 0x16
    /// No head is shorter: `A / HTTP/1.0` or `HTTP/1.1 200`, and two ends of lines.
    static let shortestByteCount = 16

    package internal(set) var facts = HeadFacts()
    /// The beginning of the first line that was not parsed.
    var position = 0
    private var hasFirstLine = false
    let limits: HeadLimits
    private let names: FieldNameTable
    private let isAnswer: Bool
    private let recentHost: UnsafeMutablePointer<RecentHost>?

    package init(limits: HeadLimits = HeadLimits()) {
        unsafe self.init(limits: limits, names: .shared, recentHost: nil)
    }

    @inline(__always)
    init(
        limits: HeadLimits, names: FieldNameTable, recentHost: UnsafeMutablePointer<RecentHost>?
    ) {
        self.limits = limits
        self.names = names
        isAnswer = false
        unsafe self.recentHost = recentHost
    }

    /// Of an answer's head.
    init(ofAnswer limits: HeadLimits) {
        self.limits = limits
        names = .shared
        isAnswer = true
        unsafe recentHost = nil
    }

    /// Whether it pays to parse again: a line has ended since, or a limit was reached.
    func hasWork(from formerCount: Int, in bytes: RawSpan) -> Bool {
        let count = bytes.byteCount, lineLimit = position &+ limits.requestLineByteCount
        return bytes.firstIndex(of: UInt8(ascii: "\n"), from: formerCount) != nil
            // With an empty line before it.
            || formerCount < Self.shortestByteCount + 2
            || !hasFirstLine && formerCount < lineLimit && count >= lineLimit
            || count >= limits.byteCount
    }

    /// Parses the lines that have come since the last call.
    ///
    /// - Parameters:
    ///   - bytes: The head from its first byte, with whatever has come behind it.
    ///   - slots: Room for ``HeadLimits/fieldCount`` fields, the same in each call for one head.
    /// - Returns: Whether the head is whole.
    @inline(__always)
    package mutating func parse(
        _ bytes: RawSpan, _ slots: UnsafeMutablePointer<FieldSlot>
    ) -> Outcome {
        unsafe bytes.withUnsafeBytes { bytes in
            guard let base = bytes.baseAddress else { return .incomplete }
            return unsafe parse(
                base.assumingMemoryBound(to: UInt8.self), bytes.count, slots)
        }
    }

    @inline(never)
    private mutating func parse(
        _ base: UnsafePointer<UInt8>, _ available: Int,
        _ slots: UnsafeMutablePointer<FieldSlot>
    ) -> Outcome {
        let count = min(available, limits.byteCount)
        guard count &- position >= (hasFirstLine ? 1 : Self.shortestByteCount) else {
            return available >= limits.byteCount
                ? .failed(.headTooLong) : unsafe judgeShort(base, count)
        }
        if !hasFirstLine {
            let stop =
                isAnswer
                ? unsafe parseStatusLine(base, count) : unsafe parseRequestLine(base, count)
            if let error = stop {
                return unsafe judge(error, base, count, available)
            }
            hasFirstLine = true
        }
        if let error = unsafe parseFields(base, count, slots) {
            return unsafe judge(error, base, count, available)
        }
        return checkFraming()
    }

    /// Fewer bytes than any head has: a line among them may be no first line all the same.
    ///
    /// What is behind a line changes nothing, so it is judged with zeros there.
    @inline(never)
    private func judgeShort(_ base: UnsafePointer<UInt8>, _ count: Int) -> Outcome {
        if unsafe beginsHandshake(base, count) { return .failed(.badMethod) }
        let hasEmptyLine = unsafe !isAnswer && count > 1 && base[0] == 13 && base[1] == 10
        var end = hasEmptyLine ? 2 : 0
        while end < count, unsafe base[end] != UInt8(ascii: "\n") { end &+= 1 }
        guard end < count else { return .incomplete }
        if isAnswer {
            var parser = self
            // It looks at nothing behind the line.
            guard let stop = unsafe parser.parseStatusLine(base, count) else { return .incomplete }
            return unsafe parser.judge(stop, base, count, 0)
        }
        return unsafe withUnsafeTemporaryAllocation(of: UInt8.self, capacity: 64) { room in
            unsafe room.initialize(repeating: 0)
            for index in 0...end { unsafe room[index] = base[index] }
            // It was just allocated, hence has an address.
            let padded = unsafe UnsafePointer(room.baseAddress!)
            var parser = self
            guard let stop = unsafe parser.parseRequestLine(padded, room.count) else {
                return .incomplete
            }
            return unsafe parser.judge(stop, padded, room.count, 0)
        }
    }

    /// What stopped it: that more must come, or an error, once its line is there.
    @inline(never)
    private func judge(
        _ stop: Stop, _ base: UnsafePointer<UInt8>, _ count: Int, _ available: Int
    ) -> Outcome {
        if unsafe beginsHandshake(base, count) { return .failed(.badMethod) }
        var end = position
        while end < count, unsafe base[end] != UInt8(ascii: "\n") { end &+= 1 }
        // First: where the line is cut, nothing else is known of it yet.
        if !hasFirstLine, end &- position >= limits.requestLineByteCount {
            return .failed(.requestLineTooLong)
        }
        if end < count, case .error(let error) = stop { return .failed(error) }
        // Behind an empty line.
        if !hasFirstLine, count &- position < Self.shortestByteCount {
            return unsafe judgeShort(base, count)
        }
        return available >= limits.byteCount ? .failed(.headTooLong) : .incomplete
    }

    private func beginsHandshake(_ base: UnsafePointer<UInt8>, _ count: Int) -> Bool {
        unsafe !isAnswer && count > 0 && base[0] == Self.handshakeByte
    }

    /// Why the parser does not go on.
    enum Stop {
        case incomplete
        case error(RequestError)
    }

    @inline(__always)
    private func checkFraming() -> Outcome {
        let flags = facts.flags
        if facts.minorVersion == 1, !flags.contains(.hasHost), !isAnswer {
            return .failed(.missingHost)
        }
        guard flags.contains(.isChunked) else { return .complete }
        // In whichever order the lines came.
        if flags.contains(.hasLength) { return .failed(.contentLengthWithTransferEncoding) }
        return .complete
    }

    // MARK: The request line

    @inline(__always)
    private mutating func parseRequestLine(_ base: UnsafePointer<UInt8>, _ count: Int) -> Stop? {
        var index = 0
        // An empty line before a request is skipped, once (RFC 9112 §2.2).
        if unsafe base[0] == 13, unsafe base[1] == 10 {
            index = 2
            position = 2
            guard count &- index >= Self.shortestByteCount else { return .incomplete }
        }
        let start = index
        facts.start = UInt16(truncatingIfNeeded: start)
        if unsafe load(base + index) & 0xffff_ffff == 0x2054_4547 {  // "GET "
            index &+= 3
            facts.method = 1
        } else {
            while index < count, unsafe base[index] != 0x20 { index &+= 1 }
            guard index < count, index &- start <= Self.longestMethodByteCount,
                unsafe names.isToken(base, from: start, to: index)
            else { return .error(.badMethod) }
            let name = unsafe UnsafeRawBufferPointer(start: base + start, count: index &- start)
            facts.method = HTTPMethod.number(of: unsafe name.bytes)
        }
        facts.methodCount = UInt16(truncatingIfNeeded: index &- start)
        index &+= 1
        let target = index
        index = unsafe Self.endOfTarget(base, index, count)
        guard index < count else { return .incomplete }
        if unsafe base[index] != 0x20 || index == target { return .error(.badTarget) }
        facts.targetStart = UInt16(truncatingIfNeeded: target)
        facts.targetCount = UInt16(truncatingIfNeeded: index &- target)
        // The usual form by itself; one byte tells it.
        let isPath = unsafe base[target] == UInt8(ascii: "/") && facts.method != 6
        if !isPath {
            let text = unsafe UnsafeRawBufferPointer(start: base + target, count: index &- target)
            guard unsafe TargetForm.isAllowed(text.bytes, HTTPMethod(number: facts.method)) else {
                return .error(.badTarget)
            }
        }
        index &+= 1
        // The line's end first: what is behind it must not change the verdict.
        guard index &+ 10 <= count, unsafe base[index &+ 8] == 13, unsafe base[index &+ 9] == 10
        else { return .error(.badVersion) }
        if let error = unsafe takeVersion(load(base + index)) { return .error(error) }
        index &+= 10
        if index &- start > limits.requestLineByteCount { return .error(.requestLineTooLong) }
        position = index
        return nil
    }

    /// `HTTP/`, a digit, a point, a digit.
    @inline(__always)
    mutating func takeVersion(_ word: UInt64) -> RequestError? {
        switch word {
        case 0x312e_312f_5054_5448: facts.minorVersion = 1  // "HTTP/1.1"
        case 0x302e_312f_5054_5448: facts.minorVersion = 0
        default: return takeRareVersion(word)
        }
        return nil
    }

    @inline(never)
    private mutating func takeRareVersion(_ word: UInt64) -> RequestError? {
        let major = UInt8(truncatingIfNeeded: word &>> 40) &- UInt8(ascii: "0")
        let point = UInt8(truncatingIfNeeded: word &>> 48)
        let minor = UInt8(truncatingIfNeeded: word &>> 56) &- UInt8(ascii: "0")
        guard word & 0xff_ffff_ffff == 0x2f_5054_5448, major < 10, minor < 10,
            point == UInt8(ascii: ".")
        else { return .badVersion }
        // A later 1.x is used as 1.1, whose rules hold for it: RFC 9110 §2.5.
        guard major == 1 else { return .unsupportedVersion }
        facts.minorVersion = 1
        return nil
    }

    // MARK: Fields

    @inline(__always)
    private mutating func parseFields(
        _ base: UnsafePointer<UInt8>, _ count: Int, _ slots: UnsafeMutablePointer<FieldSlot>
    ) -> Stop? {
        let names = names, fieldLimit = limits.fieldCount
        let limit = unsafe base + count
        var index = position
        var number = Int(facts.fieldCount)
        // Where the next call goes on.
        defer {
            position = index
            facts.fieldCount = UInt16(truncatingIfNeeded: number)
        }
        while true {
            let start = unsafe base + index
            if unsafe start + 2 <= limit && loadShort(start) == 0x0a0d {
                index &+= 2
                facts.byteCount = index
                return nil
            }
            let line: FieldLine
            if number != fieldLimit, let usual = unsafe FieldLine.usual(base, start, limit, names) {
                line = usual
            } else {
                let isOver = number == fieldLimit
                switch unsafe FieldLine.find(base, index, count, names, isOver: isOver) {
                case .field(let found): line = found
                case .stop(let stop): return stop
                }
            }
            unsafe slots[number] = line.slot
            // Those that frame the message or concern its connection have the first numbers.
            if line.name &- 1 < 6,
                let error = unsafe note(line.name, base, line.valueStart, line.valueEnd, number)
            {
                return .error(error)
            }
            number &+= 1
            index = line.end
        }
    }

    @inline(__always)
    private mutating func note(
        _ name: UInt8, _ base: UnsafePointer<UInt8>, _ start: Int, _ end: Int, _ slot: Int
    ) -> RequestError? {
        guard name == 1 else { return unsafe noteOther(name, base, start, end) }
        if facts.flags.contains(.hasHost) { return isAnswer ? nil : .manyHosts }
        facts.flags.insert(.hasHost)
        facts.hostSlot = UInt8(truncatingIfNeeded: slot)
        let (host, count) = unsafe (base + start, end &- start)
        if let recentHost = unsafe recentHost, unsafe recentHost.pointee.equals(host, count) {
            return nil
        }
        guard unsafe Authority.isValid(base, start, end) || isAnswer else { return .badHost }
        unsafe recentHost?.pointee.keep(host, count)
        return nil
    }

    @inline(never)
    private mutating func noteOther(
        _ name: UInt8, _ base: UnsafePointer<UInt8>, _ start: Int, _ end: Int
    ) -> RequestError? {
        let buffer = unsafe UnsafeRawBufferPointer(start: base + start, count: end &- start)
        let value = unsafe buffer.bytes
        switch name {
        case 2:
            // 18 digits, so that no number overflows.
            guard !facts.flags.contains(.hasLength), (1...18).contains(value.byteCount) else {
                return .badContentLength
            }
            guard let length = UInt64(decimal: value) else { return .badContentLength }
            facts.contentLength = length
            facts.flags.insert(.hasLength)
        case 3:
            guard !facts.flags.contains(.isChunked), facts.minorVersion == 1,
                value.equalsIgnoringCase("chunked")
            else { return .badTransferEncoding }
            facts.flags.insert(.isChunked)
        case 4:
            facts.flags.formUnion(ConnectionOptions.flags(value))
        case 5:
            // It means nothing to an older client (RFC 9110 §10.1.1).
            guard facts.minorVersion == 1 else { return nil }
            let isContinue = value.equalsIgnoringCase("100-continue")
            facts.flags.insert(isContinue ? .expectsContinue : .expectsOther)
        default: break
        }
        return nil
    }

    /// The first byte from a place on that is in no target: white space, a control character, DEL, a
    /// number sign, or not ASCII.
    ///
    /// A fragment is never sent (RFC 9110 §7.1).
    @inline(__always)
    private static func endOfTarget(
        _ base: UnsafePointer<UInt8>, _ start: Int, _ count: Int
    ) -> Int {
        var index = start
        while index &+ 8 <= count {
            let word = unsafe load(base + index)
            let isLow = word &- Words.ones &* 0x21
            let isDelete = (word ^ Words.ones &* 0x7f) &- Words.ones
            let number = word ^ Words.ones &* 0x23
            let hits =
                (isLow | isDelete | word | (number &- Words.ones) & ~number) & Words.highs
            if hits != 0 { return index &+ hits.trailingZeroBitCount &>> 3 }
            index &+= 8
        }
        while index < count, unsafe base[index] &- 0x21 <= 0x5d, unsafe base[index] != 0x23 {
            index &+= 1
        }
        return index
    }
}

/// Two bytes, the first of them the lowest.
@inline(__always)
func loadShort(_ place: UnsafePointer<UInt8>) -> UInt16 {
    unsafe UInt16(littleEndian: UnsafeRawPointer(place).loadUnaligned(as: UInt16.self))
}

/// Eight bytes, the first of them the lowest.
@inline(__always)
func load(_ place: UnsafePointer<UInt8>) -> UInt64 {
    unsafe UInt64(littleEndian: UnsafeRawPointer(place).loadUnaligned(as: UInt64.self))
}

/// How long a head may be.
package struct HeadLimits {
    /// Bytes of the whole head: at most 32 KiB, which its slots can say.
    package var byteCount = 32 * 1024
    /// Bytes of the request line.
    package var requestLineByteCount = 8 * 1024
    /// Fields.
    package var fieldCount = 100

    package init() {}
}
