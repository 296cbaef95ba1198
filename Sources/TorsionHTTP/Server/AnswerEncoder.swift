// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

internal import TorsionCore

/// Writes into memory that is known to be large enough: see ``AnswerPlan/capacity(_:)``.
@safe
struct AnswerEncoder {
    private let base: UnsafeMutableRawPointer
    private(set) var byteCount = 0

    init(_ base: UnsafeMutableRawPointer) { unsafe self.base = base }

    @inline(__always)
    mutating func put(_ text: StaticString) {
        unsafe put(UnsafeRawBufferPointer(start: text.utf8Start, count: text.utf8CodeUnitCount))
    }

    @inline(__always)
    mutating func put(_ bytes: UnsafeRawBufferPointer) {
        guard let start = bytes.baseAddress else { return }
        unsafe (base + byteCount).copyMemory(from: start, byteCount: bytes.count)
        byteCount &+= bytes.count
    }

    @inline(__always)
    mutating func put(_ bytes: RawSpan) { unsafe bytes.withUnsafeBytes { unsafe put($0) } }

    mutating func putByte(_ byte: UInt8) {
        unsafe base.storeBytes(of: byte, toByteOffset: byteCount, as: UInt8.self)
        byteCount &+= 1
    }

    @inline(__always)
    mutating func put(decimal number: Int) {
        var rest = number
        var count = 1
        while rest >= 10 {
            rest /= 10
            count &+= 1
        }
        rest = number
        var place = byteCount &+ count
        byteCount = place
        repeat {
            place &-= 1
            let digit = UInt8(truncatingIfNeeded: rest % 10)
            unsafe base.storeBytes(
                of: UInt8(ascii: "0") &+ digit, toByteOffset: place, as: UInt8.self)
            rest /= 10
        } while rest > 0
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
}

/// The head of an answer, about to be written.
struct AnswerPlan {
    let status: HTTPStatus
    let framing: AnswerFraming
    let closes: Bool
    let isUpgrade: Bool

    init(_ status: HTTPStatus, _ framing: AnswerFraming, closes: Bool, isUpgrade: Bool = false) {
        self.status = status
        self.framing = framing
        self.closes = closes
        self.isUpgrade = isUpgrade
    }

    /// What the head takes at most, beside its fields: the line of its status (at most 53 bytes),
    /// `Content-Length` (38), `Transfer-Encoding` (28), `Date` (37), `Connection` (24), the end.
    private static let ownByteCount = 192

    /// Checks the program's fields, and counts their bytes.
    ///
    /// - Returns: What the head takes at most.
    @inline(__always)
    static func capacity(_ fields: FieldList) throws(AnswerError) -> Int {
        let count = fields.pairs.withUnsafeBufferPointer { pairs in
            // An index that is no field's tells what is wrong with the first that is.
            var count = ownByteCount
            for index in 0..<pairs.count {
                let number = unsafe pairs[index].0.number
                let value = unsafe pairs[index].1.unsafeBytes
                // Length and coding are the server's (RFC 9112 §6): a second one would be a second
                // body.
                if number == 2 || number == 3 || !(unsafe isFieldValue(value)) { return -1 - index }
                let nameCount = unsafe number == 0 ? pairs[index].0.other.count : 32
                count &+= value.count &+ nameCount &+ 4
            }
            return count
        }
        if count >= 0 { return count }
        let name = fields.pairs[-1 - count].0
        throw name.number == 2 || name.number == 3 ? .reservedField(name) : .badFieldValue(name)
    }

    /// Whether the program's fields ask for the connection to be closed.
    @inline(__always)
    static func wantsClose(_ fields: FieldList) -> Bool {
        fields.pairs.withUnsafeBufferPointer { pairs in
            for index in 0..<pairs.count where unsafe pairs[index].0.number == 4 {
                let value = unsafe pairs[index].1
                if ConnectionOptions.flags(value.span).contains(.close) { return true }
            }
            return false
        }
    }

    @inline(__always)
    func encode(
        _ fields: FieldList, _ dateLine: UnsafeRawBufferPointer, _ names: FieldNameTable,
        into encoder: inout AnswerEncoder
    ) {
        if let line = status.line {
            encoder.put(line)
        } else {
            encoder.put("HTTP/1.1 ")
            encoder.put(decimal: status.code)
            encoder.put(" \r\n")
        }
        var hasDate = status.isInterim || isUpgrade
        fields.pairs.withUnsafeBufferPointer { pairs in
            for index in 0..<pairs.count {
                let number = unsafe pairs[index].0.number
                if number == 0 {
                    unsafe encoder.put(pairs[index].0.other.unsafeBytes)
                } else {
                    unsafe encoder.put(names.spelling(of: number))
                }
                encoder.put(": ")
                unsafe encoder.put(pairs[index].1.unsafeBytes)
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
        if !hasDate { unsafe encoder.put(dateLine) }
        if isUpgrade {
            encoder.put("Connection: Upgrade\r\n")
        } else if closes, !status.isInterim, !Self.wantsClose(fields) {
            encoder.put("Connection: close\r\n")
        }
        encoder.put("\r\n")
    }
}
