// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

internal import TorsionCore

/// Writes into memory that is known to be large enough: see ``FieldSurvey``.
///
/// What is short and of a known place is copied by whole words, so that up to ``slackByteCount`` bytes
/// behind it are written as well; what follows overwrites them.
@safe
struct AnswerEncoder {
    /// Room that is needed behind all that is written.
    static let slackByteCount = 64

    private let base: UnsafeMutableRawPointer
    private(set) var byteCount = 0
    /// Not zero if a value was put that has a control character in it, HTAB among them.
    private(set) var controls: UInt64 = 0

    init(_ base: UnsafeMutableRawPointer) { unsafe self.base = base }

    private typealias Word = SIMD2<UInt64>

    @inline(__always)
    mutating func put(_ text: StaticString) {
        unsafe copy(UnsafeRawPointer(text.utf8Start), text.utf8CodeUnitCount)
    }

    @inline(__always)
    mutating func put(_ bytes: UnsafeRawBufferPointer) {
        if let start = bytes.baseAddress { unsafe copy(start, bytes.count) }
    }

    /// Puts a field's value, and looks at it on the way: see ``controls``.
    @inline(__always)
    mutating func put(value: UnsafeRawBufferPointer) {
        let count = value.count
        guard let start = value.baseAddress, count >= 8, count <= 16 else {
            return unsafe putOtherValue(value)
        }
        // Nearly all, by two words that overlap, without a call.
        let place = unsafe base + byteCount
        let first = unsafe start.loadUnaligned(as: UInt64.self)
        let last = unsafe start.loadUnaligned(fromByteOffset: count &- 8, as: UInt64.self)
        unsafe place.storeBytes(of: first, as: UInt64.self)
        unsafe place.storeBytes(of: last, toByteOffset: count &- 8, as: UInt64.self)
        byteCount &+= count
        controls |= Words.controls(first) | Words.controls(last)
    }

    @inline(__always)
    private mutating func putOtherValue(_ value: UnsafeRawBufferPointer) {
        // Not a mutating function, by which all of this would have to be in memory.
        controls |= unsafe Self.copy(value, to: base + byteCount)
        byteCount &+= value.count
    }

    @inline(never)
    private static func copy(
        _ value: UnsafeRawBufferPointer, to place: UnsafeMutableRawPointer
    ) -> UInt64 {
        guard let start = value.baseAddress else { return 0 }
        unsafe place.copyMemory(from: start, byteCount: value.count)
        return unsafe isFieldValue(value) ? 0 : 1
    }

    /// Puts a body.
    @inline(__always)
    mutating func put(body: RawSpan) {
        unsafe body.withUnsafeBytes { bytes in
            let count = bytes.count
            guard let start = bytes.baseAddress, count >= 8, count <= 16 else {
                return unsafe put(bytes)
            }
            let place = unsafe base + byteCount
            let first = unsafe start.loadUnaligned(as: UInt64.self)
            let last = unsafe start.loadUnaligned(fromByteOffset: count &- 8, as: UInt64.self)
            unsafe place.storeBytes(of: first, as: UInt64.self)
            unsafe place.storeBytes(of: last, toByteOffset: count &- 8, as: UInt64.self)
            byteCount &+= count
        }
    }

    @inline(__always)
    mutating func put(_ bytes: RawSpan) { unsafe bytes.withUnsafeBytes { unsafe put($0) } }

    @inline(__always)
    private mutating func copy(_ start: UnsafeRawPointer, _ count: Int) {
        unsafe (base + byteCount).copyMemory(from: start, byteCount: count)
        byteCount &+= count
    }

    /// Copies so many words of 16 bytes, four at most, of which only some bytes count.
    @inline(__always)
    mutating func put(_ start: UnsafeRawPointer, words: Int, counting count: Int) {
        let place = unsafe base + byteCount
        for word in 0..<words {
            let offset = 16 &* word
            let bytes = unsafe start.loadUnaligned(fromByteOffset: offset, as: Word.self)
            unsafe place.storeBytes(of: bytes, toByteOffset: offset, as: Word.self)
        }
        byteCount &+= count
    }

    @inline(__always)
    mutating func putByte(_ byte: UInt8) {
        unsafe base.storeBytes(of: byte, toByteOffset: byteCount, as: UInt8.self)
        byteCount &+= 1
    }

    @inline(__always)
    mutating func put(decimal number: Int) {
        guard number >= 100 else {
            let tens = (number &* 103) &>> 10
            if tens > 0 { putByte(UInt8(ascii: "0") &+ UInt8(truncatingIfNeeded: tens)) }
            let ones = number &- 10 &* tens
            return putByte(UInt8(ascii: "0") &+ UInt8(truncatingIfNeeded: ones))
        }
        byteCount &+= unsafe Self.writeLong(UInt(number), to: base + byteCount)
    }

    @inline(never)
    private static func writeLong(_ number: UInt, to place: UnsafeMutableRawPointer) -> Int {
        var rest = number
        var count = 0
        repeat {
            count &+= 1
            rest /= 10
        } while rest > 0
        rest = number
        var offset = count
        repeat {
            offset &-= 1
            let digit = UInt8(ascii: "0") &+ UInt8(truncatingIfNeeded: rest % 10)
            unsafe place.storeBytes(of: digit, toByteOffset: offset, as: UInt8.self)
            rest /= 10
        } while rest > 0
        return count
    }
}

/// How the body of an answer is framed: RFC 9112 §6.
enum AnswerFraming: Equatable {
    /// There is none, and no length is told.
    case none
    /// So many bytes.
    case length(Int)
    case chunked
    /// To the end of the connection, for a client of HTTP/1.0.
    case toClose

    /// That of an answer, whose status may allow no body.
    ///
    /// - Parameters:
    ///   - status: 204 and 304 have neither a body nor a length; 205 has the length 0, since a client takes
    ///     it for one that may have a body (RFC 9110 §15.3.6).
    ///   - wanted: That of the body if it may be sent.
    @inline(__always)
    init(of status: HTTPStatus, _ wanted: AnswerFraming) {
        self = status.isWithoutBody ? .none : status == .resetContent ? .length(0) : wanted
    }
}

/// What the program's fields mean for the head of an answer, found in one pass.
struct FieldSurvey {
    /// What the head takes at most, with its fields; negative if one of them is the server's to write.
    let capacity: Int
    /// Whether they ask for the connection to be closed.
    let wantsClose: Bool

    /// What the head takes at most, beside its fields: the line of its status (at most 53 bytes),
    /// `Content-Length` (38), `Transfer-Encoding` (28), `Date` (37), `Connection` (24), the end.
    private static let ownByteCount = 192 + AnswerEncoder.slackByteCount

    @inline(__always)
    init(_ fields: FieldList) {
        // A pass over the memory, since an element that is read is retained.
        (capacity, wantsClose) = fields.pairs.withUnsafeBufferPointer { pairs in
            var (capacity, wantsClose) = (Self.ownByteCount, false)
            for index in 0..<pairs.count {
                let number = unsafe pairs[index].0.number
                if number &- 2 < 3 {
                    // Length and coding are the server's (RFC 9112 §6): a second one would be a second
                    // body.
                    if number != 4 { return (-1, false) }
                    if unsafe Self.saysClose(pairs[index].1.unsafeBytes) { wantsClose = true }
                }
                let nameCount = unsafe number == 0 ? pairs[index].0.other.count : 32
                unsafe capacity &+= pairs[index].1.count &+ nameCount &+ 4
            }
            return (capacity, wantsClose)
        }
    }

    @inline(never)
    private static func saysClose(_ value: UnsafeRawBufferPointer) -> Bool {
        unsafe ConnectionOptions.flags(value.bytes).contains(.close)
    }
}

extension AnswerError {
    /// What is wrong with the first of a program's fields that cannot be sent; `nil` if all can.
    @inline(never)
    init?(in fields: FieldList) {
        for field in fields {
            let number = field.name.number
            if number == 2 || number == 3 {
                self = .reservedField(field.name)
                return
            }
            if !isFieldValue(field.value.span) {
                self = .badFieldValue(field.name)
                return
            }
        }
        return nil
    }
}

/// The head of an answer, about to be written.
struct AnswerPlan {
    let status: HTTPStatus
    let framing: AnswerFraming
    /// Whether `Connection: close` is added.
    let saysClose: Bool
    let isUpgrade: Bool

    @inline(__always)
    init(_ status: HTTPStatus, _ framing: AnswerFraming, closes: Bool, isUpgrade: Bool = false) {
        self.status = status
        self.framing = framing
        saysClose = closes && !status.isInterim && !isUpgrade
        self.isUpgrade = isUpgrade
    }

    /// Writes the head, and bytes of the body behind it.
    ///
    /// - Parameters:
    ///   - fields: The program's.
    ///   - body: Copied.
    ///   - block: Has the line of `Date`, which is right.
    ///   - base: Room for as much as ``FieldSurvey`` says, and the body.
    /// - Returns: How many bytes were written; none if a field's value cannot be sent.
    @inline(never)
    func encode(
        _ fields: FieldList, _ body: RawSpan, _ block: UnsafeMutablePointer<HTTPShared.Block>,
        into base: UnsafeMutableRawPointer
    ) -> Int {
        var encoder = unsafe AnswerEncoder(base)
        unsafe encodeStatus(block.pointee.statusLines, &encoder)
        var hasDate = status.isInterim || isUpgrade
        let names = unsafe block.pointee.names
        fields.pairs.withUnsafeBufferPointer { pairs in
            for index in 0..<pairs.count {
                let number = unsafe pairs[index].0.number
                if number == 0 {
                    unsafe encoder.put(pairs[index].0.other.unsafeBytes)
                    encoder.put(": ")
                } else {
                    let (start, count) = unsafe names.spelling(of: number)
                    unsafe encoder.put(start, words: 3, counting: count)
                }
                unsafe encoder.put(value: pairs[index].1.unsafeBytes)
                encoder.put("\r\n")
                if number == FieldName.date.number { hasDate = true }
            }
        }
        switch framing {
        case .none, .toClose: break
        case .length(let count):
            encoder.put("Content-Length: ")
            encoder.put(decimal: count)
            encoder.put("\r\n")
        case .chunked: encoder.put("Transfer-Encoding: chunked\r\n")
        }
        if !hasDate {
            let count = unsafe block.pointee.dateByteCount
            unsafe encoder.put(block.pointee.dateLine, words: 3, counting: count)
        }
        if isUpgrade { encoder.put("Connection: Upgrade\r\n") }
        if saysClose { encoder.put("Connection: close\r\n") }
        encoder.put("\r\n")
        if encoder.controls != 0, AnswerError(in: fields) != nil { return 0 }
        encoder.put(body: body)
        return encoder.byteCount
    }

    @inline(__always)
    private func encodeStatus(_ lines: StatusLines, _ encoder: inout AnswerEncoder) {
        guard let (start, count) = unsafe lines.line(status.code) else {
            encoder.put("HTTP/1.1 ")
            encoder.put(decimal: status.code)
            return encoder.put(" \r\n")
        }
        unsafe encoder.put(start, words: 4, counting: count)
    }
}

/// The first line of an answer for each status that has a name, in whole words of 16 bytes.
///
/// Made once for the process, and never changed: usable on any thread, which the compiler cannot know of
/// a pointer.
@safe
struct StatusLines: @unchecked Sendable {
    static let shared = StatusLines()

    /// The longest has 53 bytes; the last byte of each place says how many there are.
    private static let placeByteCount = 64
    private static let codes = 100..<600
    /// For each code the number of its place, and then the places; the first is of codes without a name.
    private let memory: UnsafeMutableRawPointer

    private init() {
        let lines = Self.codes.map { HTTPStatus(unchecked: $0).line }
        let named = lines.count { $0 != nil }
        let byteCount = 512 + Self.placeByteCount * (named + 1)
        unsafe memory = .allocate(byteCount: byteCount, alignment: 64)
        unsafe memory.initializeMemory(as: UInt8.self, repeating: 0, count: byteCount)
        var place = 0
        for (index, line) in lines.enumerated() {
            guard let line else { continue }
            place += 1
            precondition(line.utf8CodeUnitCount < Self.placeByteCount && place < 256)
            unsafe memory.storeBytes(of: UInt8(place), toByteOffset: index, as: UInt8.self)
            let start = unsafe memory + (512 + Self.placeByteCount * place)
            unsafe start.copyMemory(from: line.utf8Start, byteCount: line.utf8CodeUnitCount)
            unsafe start.storeBytes(
                of: UInt8(line.utf8CodeUnitCount), toByteOffset: 63, as: UInt8.self)
        }
    }

    /// The line of a code, in 64 bytes of which so many count; `nil` if it has no name.
    @inline(__always)
    func line(_ code: Int) -> (start: UnsafeRawPointer, byteCount: Int)? {
        let place = unsafe memory.load(fromByteOffset: code &- 100, as: UInt8.self)
        guard place > 0 else { return nil }
        let start = unsafe memory + (512 &+ Self.placeByteCount &* Int(place))
        return unsafe (
            UnsafeRawPointer(start), Int(start.load(fromByteOffset: 63, as: UInt8.self))
        )
    }
}
