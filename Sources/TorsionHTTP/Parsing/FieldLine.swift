// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

internal import TorsionCore

// One line of a head, found in two ways. Nearly all lines are of one form: a name that is known, a colon,
// one space, a value, CR and LF, all of it there. Such a line is found by words of eight bytes, with no
// byte looked at twice. Whatever differs in anything is left to the other way, byte by byte, which alone
// says what is wrong with a line. So the two cannot disagree about what is refused.

/// Where the parts of a field's line are.
struct FieldLine {
    let nameStart: Int
    let nameCount: Int
    /// The number of its name; 0 for one that has none.
    let name: UInt8
    let valueStart: Int
    let valueEnd: Int
    /// Behind the line's LF.
    let end: Int

    /// What is found where a line begins.
    enum Found {
        case field(FieldLine)
        case stop(HeadParser.Stop)
    }

    @inline(__always)
    var slot: FieldSlot {
        FieldSlot(
            nameStart: UInt16(truncatingIfNeeded: nameStart),
            nameCount: UInt8(truncatingIfNeeded: nameCount), number: name,
            valueStart: UInt16(truncatingIfNeeded: valueStart),
            valueCount: UInt16(truncatingIfNeeded: valueEnd &- valueStart))
    }

    /// The line of the usual form that begins in a place.
    ///
    /// - Parameters:
    ///   - base: The head, with the whole of its first line.
    ///   - line: Where the line begins.
    ///   - limit: The end of what has come.
    ///   - names: The names that are known.
    /// - Returns: `nil` if there is none: what there is instead, ``find(_:_:_:_:isOver:)`` says.
    @inline(__always)
    static func usual(
        _ base: UnsafePointer<UInt8>, _ line: UnsafePointer<UInt8>,
        _ limit: UnsafePointer<UInt8>, _ names: FieldNameTable
    ) -> FieldLine? {
        guard let colon = unsafe colon(line, limit), unsafe colon + 3 <= limit,
            unsafe colon[1] == 0x20, unsafe colon[2] > 0x20,
            let name = unsafe names.known(from: line, to: colon)
        else { return nil }
        let value = unsafe colon + 2
        guard let stop = unsafe endOfValue(value, limit), unsafe stop + 2 <= limit,
            unsafe loadShort(stop) == 0x0a0d, unsafe stop[-1] > 0x20
        else { return nil }
        return unsafe FieldLine(
            nameStart: line - base, nameCount: colon - line, name: name, valueStart: value - base,
            valueEnd: stop - base, end: stop + 2 - base)
    }

    /// What begins in a place, whatever its form, unless it is the head's end.
    ///
    /// `isOver`: whether no further field is allowed.
    @inline(never)
    static func find(
        _ base: UnsafePointer<UInt8>, _ start: Int, _ count: Int, _ names: FieldNameTable,
        isOver: Bool
    ) -> Found {
        guard start &+ 2 <= count else {
            guard start < count, unsafe base[start] == 10 else { return .stop(.incomplete) }
            return .stop(.error(.bareLineFeed))
        }
        switch unsafe base[start] {
        case 13: return .stop(.error(.bareCarriageReturn))
        case 0x20, 9: return .stop(.error(.foldedField))
        case 10: return .stop(.error(.bareLineFeed))
        default: break
        }
        if isOver { return .stop(.error(.tooManyFields)) }
        return unsafe findField(base, start, count, names)
    }

    private static func findField(
        _ base: UnsafePointer<UInt8>, _ start: Int, _ count: Int, _ names: FieldNameTable
    ) -> Found {
        var colon = start
        while colon < count, unsafe base[colon] != UInt8(ascii: ":") { colon &+= 1 }
        guard colon < count, 1...255 ~= colon &- start,
            unsafe names.isToken(base, from: start, to: colon)
        else { return .stop(.error(.badFieldName)) }
        var valueStart = colon &+ 1
        while valueStart < count, unsafe isBlank(base[valueStart]) { valueStart &+= 1 }
        var stop = valueStart
        while stop < count, unsafe !endsValue(base[stop]) { stop &+= 1 }
        guard stop &+ 1 < count else {
            // An LF may be the last byte there is.
            guard stop < count, unsafe base[stop] == 10 else { return .stop(.incomplete) }
            return .stop(.error(.bareLineFeed))
        }
        if unsafe base[stop] != 13 {
            return .stop(.error(unsafe base[stop] == 10 ? .bareLineFeed : .badFieldValue))
        }
        if unsafe base[stop &+ 1] != 10 { return .stop(.error(.bareCarriageReturn)) }
        var valueEnd = stop
        while valueEnd > valueStart, unsafe isBlank(base[valueEnd &- 1]) { valueEnd &-= 1 }
        return .field(
            FieldLine(
                nameStart: start, nameCount: colon &- start,
                name: unsafe names.known(from: base + start, to: base + colon) ?? 0,
                valueStart: valueStart,
                valueEnd: valueEnd, end: stop &+ 2))
    }

    private static func isBlank(_ byte: UInt8) -> Bool { byte == 0x20 || byte == 9 }

    /// A control character but HTAB, or DEL.
    private static func endsValue(_ byte: UInt8) -> Bool {
        byte < 0x20 && byte != 9 || byte == 0x7f
    }

    // MARK: Runs of bytes

    /// The first colon from a place on, if it is found by whole words.
    @inline(__always)
    private static func colon(
        _ start: UnsafePointer<UInt8>, _ limit: UnsafePointer<UInt8>
    ) -> UnsafePointer<UInt8>? {
        var place = unsafe start
        let last = unsafe limit - 8
        while unsafe place <= last {
            // The lowest bit that is set is right; those above it may be borrowed (Warren, "Hacker's
            // Delight", §6-1).
            let word = unsafe load(place) ^ Words.ones &* 0x3a
            let hits = (word &- Words.ones) & ~word & Words.highs
            if hits != 0 { return unsafe place + hits.trailingZeroBitCount &>> 3 }
            unsafe place += 8
        }
        return nil
    }

    /// The first control character or DEL from a place on, or the end of what has come.
    ///
    /// `start` is not before the eighth byte that can be read.
    @inline(__always)
    private static func endOfValue(
        _ start: UnsafePointer<UInt8>, _ limit: UnsafePointer<UInt8>
    ) -> UnsafePointer<UInt8>? {
        var place = unsafe start
        let last = unsafe limit - 8
        while unsafe place <= last {
            let hits = Words.controls(unsafe load(place))
            if hits != 0 { return unsafe place + hits.trailingZeroBitCount &>> 3 }
            unsafe place += 8
        }
        let rest = unsafe limit - place
        guard rest > 0 else { return nil }
        // The last word that there is, without the bytes before; what is shifted in looks like NUL.
        let word = unsafe load(last) &>> UInt64(truncatingIfNeeded: 64 &- 8 &* rest)
        return unsafe place + Words.controls(word).trailingZeroBitCount &>> 3
    }
}

/// Eight bytes at a time, in registers of 64 bits.
///
/// Vectors of the standard library's SIMD types compile to loops over their elements when they are
/// compared: 20,173 instructions a head of ten fields where these take 3,190.
enum Words {
    static let ones: UInt64 = 0x0101_0101_0101_0101
    static let highs: UInt64 = 0x8080_8080_8080_8080

    /// The high bit of each byte that is a control character, HTAB among them, or DEL.
    ///
    /// What borrows or carries may set it for another byte as well, beside one of these or behind one that
    /// is not ASCII: so each byte that is found is to be looked at.
    @inline(__always)
    static func controls(_ word: UInt64) -> UInt64 {
        ((word &- ones &* 0x20) | (word &+ ones)) & ~word & highs
    }
}

/// Whether these bytes may be a field's value: no control character but HTAB.
@inline(__always)
func isFieldValue(_ value: RawSpan) -> Bool {
    unsafe value.withUnsafeBytes { unsafe isFieldValue($0) }
}

/// Whether these bytes may be a field's value: no control character but HTAB.
@inline(__always)
func isFieldValue(_ value: UnsafeRawBufferPointer) -> Bool {
    guard let base = unsafe value.baseAddress?.assumingMemoryBound(to: UInt8.self) else {
        return true
    }
    let count = value.count
    guard count >= 8 else { return unsafe isFieldValueBytewise(base, count) }
    var hits = Words.controls(unsafe load(base + count - 8))
    var index = 0
    while index < count &- 8 {
        hits |= Words.controls(unsafe load(base + index))
        index &+= 8
    }
    return unsafe hits == 0 || isFieldValueBytewise(base, count)
}

@inline(never)
private func isFieldValueBytewise(_ base: UnsafePointer<UInt8>, _ count: Int) -> Bool {
    for index in 0..<count {
        let byte = unsafe base[index]
        if byte < 0x20 && byte != 9 || byte == 0x7f { return false }
    }
    return true
}
