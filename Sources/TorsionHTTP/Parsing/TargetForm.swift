// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

internal import TorsionCore

/// The forms of a target: RFC 9112 §3.2.
enum TargetForm {
    /// Whether a target that is no path has a form that its method allows.
    ///
    /// Paths come here too.
    static func isAllowed(_ target: RawSpan, _ method: HTTPMethod) -> Bool {
        if method == .connect { return Authority.isValid(target, needsPort: true) }
        if target == "*" { return method == .options }
        guard target[0] != UInt8(ascii: "/") else { return true }
        return authority(ofAbsolute: target).map { Authority.isValid(target[$0]) } ?? false
    }

    /// Where the authority of an absolute target is; `nil` if it is none, or names no host.
    static func authority(ofAbsolute target: RawSpan) -> Range<Int>? {
        guard let colon = target.firstIndex(of: UInt8(ascii: ":")), colon > 0,
            target[colon...].starts(with: "://")
        else { return nil }
        // A scheme: RFC 3986 §3.1.
        for index in 0..<colon {
            let byte = target[index]
            let isLetter = byte.asciiLowercased &- UInt8(ascii: "a") < 26
            let isOther = byte &- UInt8(ascii: "0") < 10 || "+-.".utf8.contains(byte)
            guard isLetter || index > 0 && isOther else { return nil }
        }
        let start = colon + 3
        var end = start
        while end < target.byteCount, !"/?#".utf8.contains(target[end]) { end += 1 }
        guard end > start, target[start] != UInt8(ascii: ":") else { return nil }
        return start..<end
    }
}

/// A host, and a port where one is given: RFC 3986 §3.2, without a user's name, which is a way to
/// mislead people (RFC 9110 §4.2.4).
enum Authority {
    /// What may stand in a name: RFC 3986 §3.2.2, without the comma, by which two hosts would look
    /// like one.
    private static let nameBytes: InlineArray<256, Bool> = {
        var allowed = InlineArray<256, Bool>(repeating: false)
        for byte in "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-._~!$&'()*+;="
            .utf8
        {
            allowed[Int(byte)] = true
        }
        return allowed
    }()

    /// Whether these bytes name a host; none at all do, for a target that has none.
    ///
    /// `start` is not before the eighth byte that can be read.
    static func isValid(_ base: UnsafePointer<UInt8>, _ start: Int, _ end: Int) -> Bool {
        var place = unsafe base + start
        let limit = unsafe base + end
        let last = unsafe limit - 8
        while unsafe place < limit {
            // The last word without the bytes before; what is shifted in is none of a host's.
            let shift = unsafe place <= last ? 0 : 8 &* (place - last)
            let word =
                unsafe load(place <= last ? place : last) &>> UInt64(truncatingIfNeeded: shift)
            let others = notPlain(word)
            unsafe place += others.trailingZeroBitCount &>> 3
            if others != 0 { break }
        }
        while unsafe place < limit && isPlain(place.pointee) { unsafe place += 1 }
        // Names with a port at most, as nearly all of them.
        if unsafe place == limit { return true }
        let index = unsafe place - base
        if unsafe base[index] == UInt8(ascii: ":"), index > start {
            return unsafe isPort(base, index &+ 1, end)
        }
        let rest = unsafe UnsafeRawBufferPointer(start: base + start, count: end &- start)
        return unsafe isValid(rest.bytes)
    }

    /// The high bit of each byte that is no small letter, digit, point or hyphen.
    ///
    /// A byte of at most 0x7f has its high bit set behind adding 0x80 - *x* if it is *x* or more.
    @inline(__always)
    private static func notPlain(_ word: UInt64) -> UInt64 {
        let low = word & ~Words.highs
        let isLetter = (low &+ Words.ones &* (0x80 - 0x61)) & ~(low &+ Words.ones &* (0x80 - 0x7b))
        let isFromHyphen =
            (low &+ Words.ones &* (0x80 - 0x2d)) & ~(low &+ Words.ones &* (0x80 - 0x3a))
        let isNoSlash = (low ^ Words.ones &* 0x2f) &+ Words.ones &* 0x7f
        return (~(isLetter | isFromHyphen & isNoSlash) | word) & Words.highs
    }

    /// Letters, digits, points and hyphens.
    @inline(__always)
    private static func isPlain(_ byte: UInt8) -> Bool {
        byte | 0x20 &- UInt8(ascii: "a") < 26 || byte &- UInt8(ascii: "-") < 13 && byte != 0x2f
    }

    /// At most five digits, no more than 65,535; none at all are allowed (RFC 3986 §3.2.3).
    @inline(__always)
    private static func isPort(_ base: UnsafePointer<UInt8>, _ start: Int, _ end: Int) -> Bool {
        guard end &- start <= 5 else { return false }
        var port = 0
        var index = start
        while index < end {
            let digit = Int(unsafe base[index]) &- 0x30
            guard UInt(bitPattern: digit) < 10 else { return false }
            port = port &* 10 &+ digit
            index &+= 1
        }
        return port <= 65_535
    }

    static func isValid(_ text: RawSpan, needsPort: Bool = false) -> Bool {
        guard text.first == UInt8(ascii: "[") else { return isValidName(text, needsPort) }
        guard let end = text.firstIndex(of: UInt8(ascii: "]")) else { return false }
        guard isAddress(text[1..<end]) else { return false }
        return isPortPart(text[(end + 1)...], needsPort)
    }

    /// What stands in brackets: RFC 3986 §3.2.2.
    private static func isAddress(_ text: RawSpan) -> Bool {
        if text.first.map({ $0 | 0x20 }) == UInt8(ascii: "v") { return isFutureAddress(text) }
        let address = String(decoding: text)
        return IPv6Address(address) != nil && !address.contains("%")
    }

    /// One of a later version than IPv6, of which there is none yet: `v`, its number, a point, and what
    /// may stand in a name, or colons.
    private static func isFutureAddress(_ text: RawSpan) -> Bool {
        guard let point = text.firstIndex(of: UInt8(ascii: ".")), point > 1,
            point + 1 < text.byteCount
        else { return false }
        for index in 1..<point where !isHexadecimal(text[index]) { return false }
        for index in (point + 1)..<text.byteCount
        where !nameBytes[Int(text[index])] && text[index] != UInt8(ascii: ":") { return false }
        return true
    }

    private static func isValidName(_ text: RawSpan, _ needsPort: Bool) -> Bool {
        let end = text.firstIndex(of: UInt8(ascii: ":")) ?? text.byteCount
        var index = 0
        while index < end {
            if text[index] == UInt8(ascii: "%") {
                guard index + 2 < end, isHexadecimal(text[index + 1]),
                    isHexadecimal(text[index + 2])
                else { return false }
                index += 3
            } else {
                guard nameBytes[Int(text[index])] else { return false }
                index += 1
            }
        }
        if end == 0, text.byteCount > 0 { return false }
        return isPortPart(text[end...], needsPort)
    }

    private static func isPortPart(_ text: RawSpan, _ isNeeded: Bool) -> Bool {
        guard text.byteCount > 0 else { return !isNeeded }
        guard text[0] == UInt8(ascii: ":"), text.byteCount > 1 || !isNeeded else { return false }
        return unsafe text.withUnsafeBytes { text in
            // It has bytes, hence an address.
            let base = unsafe text.baseAddress!.assumingMemoryBound(to: UInt8.self)
            return unsafe isPort(base, 1, text.count)
        }
    }

    private static func isHexadecimal(_ byte: UInt8) -> Bool {
        byte &- UInt8(ascii: "0") < 10 || byte.asciiLowercased &- UInt8(ascii: "a") < 6
    }
}

/// The options of `Connection`: RFC 9110 §7.6.1.
enum ConnectionOptions {
    /// Those that this server knows.
    static func flags(_ value: RawSpan) -> HeadFacts.Flags {
        var flags: HeadFacts.Flags = []
        var start = 0
        while start <= value.byteCount {
            let end = value.firstIndex(of: UInt8(ascii: ","), from: start) ?? value.byteCount
            let option = value[start..<end].trimmed
            if option.equalsIgnoringCase("close") {
                flags.insert(.close)
            } else if option.equalsIgnoringCase("keep-alive") {
                flags.insert(.keepAlive)
            } else if option.equalsIgnoringCase("upgrade") {
                flags.insert(.upgrade)
            }
            start = end + 1
        }
        return flags
    }
}
