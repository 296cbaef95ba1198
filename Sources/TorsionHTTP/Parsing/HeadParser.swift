// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

internal import TorsionCore

// A message's head, found in place. Nothing is copied and nothing allocated: what is found are the
// places of the parts, 8 bytes a field.
//
// Bytes are looked at eight at a time, in registers of 64 bits: vectors of the standard library's SIMD
// types compile to loops over their elements (20,173 instructions a head of ten fields where these take
// 3,190). The lowest bit that is set in a mask is right; those above it may be borrowed (Warren,
// "Hacker's Delight", §6-1), so each is looked at again where that matters.
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
    /// No head is shorter: `A / HTTP/1.0` or `HTTP/1.1 200`, and two ends of lines.
    static let shortestByteCount = 16

    package internal(set) var facts = HeadFacts()
    /// The beginning of the first line that was not parsed.
    var position = 0
    private var hasFirstLine = false
    let limits: HeadLimits
    private let names: FieldNameTable
    private let isAnswer: Bool

    package init(limits: HeadLimits = HeadLimits()) {
        self.init(limits: limits, names: .shared)
    }

    @inline(__always)
    init(limits: HeadLimits, names: FieldNameTable) {
        self.limits = limits
        self.names = names
        isAnswer = false
    }

    /// Of an answer's head.
    init(ofAnswer limits: HeadLimits) {
        self.limits = limits
        names = .shared
        isAnswer = true
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

    /// Why the parser does not go on.
    enum Stop {
        case incomplete
        case error(RequestError)
    }

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
        if unsafe load(base, index) & 0xffff_ffff == 0x2054_4547 {  // "GET "
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
        if let error = unsafe takeVersion(load(base, index)) { return .error(error) }
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

    private mutating func parseFields(
        _ base: UnsafePointer<UInt8>, _ count: Int, _ slots: UnsafeMutablePointer<FieldSlot>
    ) -> Stop? {
        let names = names, fieldLimit = limits.fieldCount
        var index = position
        var number = Int(facts.fieldCount)
        // Where the next call goes on.
        defer {
            position = index
            facts.fieldCount = UInt16(truncatingIfNeeded: number)
        }
        while true {
            guard index &+ 2 <= count else {
                guard index < count, unsafe base[index] == 10 else { return .incomplete }
                return .error(.bareLineFeed)
            }
            let first = unsafe base[index]
            if first == 13 {
                if unsafe base[index &+ 1] != 10 { return .error(.bareCarriageReturn) }
                index &+= 2
                facts.byteCount = index
                return nil
            }
            if first == 0x20 || first == 9 { return .error(.foldedField) }
            if first == 10 { return .error(.bareLineFeed) }
            if number == fieldLimit { return .error(.tooManyFields) }
            let colon = unsafe Self.colon(base, index, count)
            let nameCount = colon &- index
            if colon == count { return .error(.badFieldName) }
            if nameCount == 0 || nameCount > 255 { return .error(.badFieldName) }
            let name = unsafe names.number(base, from: index, count: nameCount, limit: count)
            if name == 0, unsafe !names.isToken(base, from: index, to: colon) {
                return .error(.badFieldName)
            }
            var start = colon &+ 1
            while start < count, unsafe base[start] == 0x20 || base[start] == 9 { start &+= 1 }
            let stop = unsafe Self.endOfValue(base, start, count)
            guard stop &+ 1 < count else {
                // An LF may be the last byte there is.
                guard stop < count, unsafe base[stop] == 10 else { return .incomplete }
                return .error(.bareLineFeed)
            }
            if unsafe base[stop] != 13 {
                return .error(unsafe base[stop] == 10 ? .bareLineFeed : .badFieldValue)
            }
            if unsafe base[stop &+ 1] != 10 { return .error(.bareCarriageReturn) }
            var end = stop
            while end > start, unsafe base[end &- 1] == 0x20 || base[end &- 1] == 9 { end &-= 1 }
            unsafe slots[number] = FieldSlot(
                nameStart: UInt16(truncatingIfNeeded: index),
                nameCount: UInt8(truncatingIfNeeded: nameCount), number: name,
                valueStart: UInt16(truncatingIfNeeded: start),
                valueCount: UInt16(truncatingIfNeeded: end &- start))
            // Those that frame the message or concern its connection have the first numbers.
            if name &- 1 < 6, let error = unsafe note(name, base, start, end, number) {
                return .error(error)
            }
            number &+= 1
            index = stop &+ 2
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
        return unsafe Authority.isValid(base, start, end) || isAnswer ? nil : .badHost
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

    // MARK: Runs of bytes

    private static let ones: UInt64 = 0x0101_0101_0101_0101
    private static let highs: UInt64 = 0x8080_8080_8080_8080

    /// The first byte from a place on that ends a value: a control character but HTAB, or DEL.
    @inline(__always)
    static func endOfValue(_ base: UnsafePointer<UInt8>, _ start: Int, _ count: Int) -> Int {
        var index = start
        while index &+ 8 <= count {
            let word = unsafe load(base, index)
            let isLow = word &- ones &* 0x20
            let isDelete = (word ^ ones &* 0x7f) &- ones
            var hits = (isLow | isDelete) & ~word & highs
            while hits != 0 {
                let at = index &+ hits.trailingZeroBitCount &>> 3
                if unsafe base[at] != 9 {
                    return unsafe base[at] < 0x20 || base[at] == 0x7f
                        ? at : endOfValueBytewise(base, at, count)
                }
                hits &= hits &- 1
            }
            index &+= 8
        }
        guard count >= 8, index < count else {
            return unsafe endOfValueBytewise(base, index, count)
        }
        // The last word that there is, without the bytes before; what is shifted in looks like NUL.
        let rest = count &- index
        let word = unsafe load(base, count &- 8) &>> UInt64(truncatingIfNeeded: 8 &* (8 &- rest))
        let isLow = word &- ones &* 0x20
        let isDelete = (word ^ ones &* 0x7f) &- ones
        let hits = (isLow | isDelete) & ~word & highs
        let at = index &+ hits.trailingZeroBitCount &>> 3
        if at >= count { return count }
        return unsafe base[at] < 0x20 && base[at] != 9 || base[at] == 0x7f
            ? at : endOfValueBytewise(base, at, count)
    }

    @inline(never)
    private static func endOfValueBytewise(
        _ base: UnsafePointer<UInt8>, _ start: Int, _ count: Int
    ) -> Int {
        var index = start
        while index < count {
            let byte = unsafe base[index]
            if byte < 0x20 && byte != 9 || byte == 0x7f { return index }
            index &+= 1
        }
        return count
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
            let word = unsafe load(base, index)
            let isLow = word &- ones &* 0x21
            let isDelete = (word ^ ones &* 0x7f) &- ones
            let number = word ^ ones &* 0x23
            let hits = (isLow | isDelete | word | (number &- ones) & ~number) & highs
            if hits != 0 { return index &+ hits.trailingZeroBitCount &>> 3 }
            index &+= 8
        }
        while index < count, unsafe base[index] &- 0x21 <= 0x5d, unsafe base[index] != 0x23 {
            index &+= 1
        }
        return index
    }

    /// The first colon from a place on.
    @inline(__always)
    private static func colon(_ base: UnsafePointer<UInt8>, _ start: Int, _ count: Int) -> Int {
        var index = start
        while index &+ 8 <= count {
            let word = unsafe load(base, index) ^ ones &* 0x3a
            let hits = (word &- ones) & ~word & highs
            if hits != 0 { return index &+ hits.trailingZeroBitCount &>> 3 }
            index &+= 8
        }
        while index < count, unsafe base[index] != 0x3a { index &+= 1 }
        return index
    }
}

@inline(__always)
func load(_ base: UnsafePointer<UInt8>, _ index: Int) -> UInt64 {
    unsafe UInt64(
        littleEndian: UnsafeRawPointer(base + index).loadUnaligned(as: UInt64.self))
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
