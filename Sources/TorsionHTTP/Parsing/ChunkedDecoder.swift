// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

internal import TorsionCore

/// Takes the coding off a body in chunks: RFC 9112 §7.1.
///
/// Strict and bounded: sizes of at most 16 digits, extensions of 16 KiB a body, trailers of 8 KiB.
/// It holds a line of a trailer at most; what it finds it lends from the bytes that it is given.
package struct ChunkedDecoder {
    private enum State {
        case size(digitCount: Int)
        case `extension`(ExtensionState)
        case sizeLineFeed
        case data
        case dataReturn
        case dataLineFeed
        case trailers
        case over
    }

    /// What of `*( BWS ";" BWS name [ BWS "=" BWS value ] )` has come.
    private enum ExtensionState {
        /// White space behind the size, or behind a name or a value.
        case gap(mayBeEqualSign: Bool)
        case beforeName
        case name
        case beforeValue
        case token
        case quoted
        case escaped
        case afterQuoted
    }

    private var state = State.size(digitCount: 0)
    /// Of the present chunk.
    private var restByteCount: UInt64 = 0
    private var extensionByteCount = 0
    private var trailerByteCount = 0
    private var line: [UInt8] = []

    /// The trailers that have come.
    package private(set) var trailers = FieldList()

    static let extensionLimitBytes = 16 * 1024
    static let trailerLimitBytes = 8 * 1024
    static let trailerLimit = 100

    package init() {}

    /// Whether the whole body has come, with its trailers.
    package var isOver: Bool { if case .over = state { true } else { false } }

    /// Finds the next run of the body's bytes.
    ///
    /// - Parameters:
    ///   - bytes: What has arrived.
    ///   - position: Where to go on; moved behind what was used.
    /// - Returns: Where the run is; `nil` if all is used, or the body is over.
    /// - Throws: What is wrong with it; the decoder is used no more then.
    package mutating func next(
        _ bytes: RawSpan, _ position: inout Int
    ) throws(RequestError) -> Range<Int>? {
        while position < bytes.byteCount {
            if case .data = state { return takeData(bytes.byteCount, &position) }
            if case .over = state { return nil }
            try take(bytes[position])
            position &+= 1
        }
        return nil
    }

    private mutating func takeData(_ count: Int, _ position: inout Int) -> Range<Int> {
        let start = position
        position &+= Int(min(restByteCount, UInt64(count &- start)))
        restByteCount -= UInt64(position &- start)
        if restByteCount == 0 { state = .dataReturn }
        return start..<position
    }

    /// One byte that is not of the body.
    private mutating func take(_ byte: UInt8) throws(RequestError) {
        switch state {
        case .size(let digitCount): try takeSize(byte, digitCount)
        case .extension(let part): try takeExtension(byte, part)
        case .sizeLineFeed:
            guard byte == UInt8(ascii: "\n") else { throw .bareCarriageReturn }
            state = restByteCount > 0 ? .data : .trailers
        case .dataReturn:
            guard byte == UInt8(ascii: "\r") else { throw .badChunkEnd }
            state = .dataLineFeed
        case .dataLineFeed:
            guard byte == UInt8(ascii: "\n") else { throw .badChunkEnd }
            state = .size(digitCount: 0)
        case .trailers: try takeTrailer(byte)
        case .data, .over: break
        }
    }

    private mutating func takeSize(_ byte: UInt8, _ digitCount: Int) throws(RequestError) {
        if let digit = hexadecimalDigit(byte) {
            guard digitCount < 16 else { throw .badChunkSize }
            restByteCount = (digitCount == 0 ? 0 : restByteCount << 4) | UInt64(digit)
            return state = .size(digitCount: digitCount + 1)
        }
        guard digitCount > 0 else { throw .badChunkSize }
        switch byte {
        case UInt8(ascii: "\r"): state = .sizeLineFeed
        case UInt8(ascii: ";"): state = .extension(.beforeName)
        case UInt8(ascii: " "), UInt8(ascii: "\t"):
            state = .extension(.gap(mayBeEqualSign: false))
        default: throw .badChunkSize
        }
    }

    private func hexadecimalDigit(_ byte: UInt8) -> UInt8? {
        let decimal = byte &- UInt8(ascii: "0")
        if decimal < 10 { return decimal }
        let letter = (byte | 0x20) &- UInt8(ascii: "a")
        return letter < 6 ? letter &+ 10 : nil
    }

    private mutating func takeExtension(
        _ byte: UInt8, _ part: ExtensionState
    ) throws(RequestError) {
        extensionByteCount += 1
        guard extensionByteCount <= Self.extensionLimitBytes else { throw .chunkExtensionsTooLong }
        let isBlank = byte == UInt8(ascii: " ") || byte == UInt8(ascii: "\t")
        let isToken = FieldNameTable.shared.isTokenByte(byte)
        switch part {
        case .beforeName where isBlank, .beforeValue where isBlank: return
        case .gap where isBlank: return
        case .beforeName where isToken: state = .extension(.name)
        case .beforeValue where isToken: state = .extension(.token)
        case .beforeValue where byte == UInt8(ascii: "\""): state = .extension(.quoted)
        case .name where isToken, .token where isToken: return
        case .quoted, .escaped: state = .extension(try quoted(byte, part))
        case .name where isBlank: state = .extension(.gap(mayBeEqualSign: true))
        case .token where isBlank, .afterQuoted where isBlank:
            state = .extension(.gap(mayBeEqualSign: false))
        case .name where byte == UInt8(ascii: "="),
            .gap(mayBeEqualSign: true) where byte == UInt8(ascii: "="):
            state = .extension(.beforeValue)
        case .beforeName, .beforeValue: throw .badChunkExtension
        case .gap, .name, .token, .afterQuoted: try endExtension(byte, part)
        }
    }

    private func quoted(
        _ byte: UInt8, _ part: ExtensionState
    ) throws(RequestError) -> ExtensionState {
        guard byte >= 0x20 && byte != 0x7f || byte == UInt8(ascii: "\t") else {
            throw .badChunkExtension
        }
        if case .escaped = part { return .quoted }
        switch byte {
        case UInt8(ascii: "\\"): return .escaped
        case UInt8(ascii: "\""): return .afterQuoted
        default: return .quoted
        }
    }

    private mutating func endExtension(
        _ byte: UInt8, _ part: ExtensionState
    ) throws(RequestError) {
        if byte == UInt8(ascii: ";") { return state = .extension(.beforeName) }
        // White space belongs in front of an extension only.
        if case .gap = part { throw .badChunkExtension }
        guard byte == UInt8(ascii: "\r") else { throw .badChunkExtension }
        state = .sizeLineFeed
    }

    // MARK: Trailers

    private mutating func takeTrailer(_ byte: UInt8) throws(RequestError) {
        trailerByteCount += 1
        guard trailerByteCount <= Self.trailerLimitBytes else { throw .trailersTooLong }
        line.append(byte)
        guard byte == UInt8(ascii: "\n") else { return }
        let whole = line
        line = []
        guard whole.count >= 2, whole[whole.count - 2] == UInt8(ascii: "\r") else {
            throw .bareLineFeed
        }
        if whole.count == 2 { return state = .over }
        let count = whole.count - 2
        try addTrailer(whole.span.bytes[..<count])
    }

    private mutating func addTrailer(_ line: RawSpan) throws(RequestError) {
        guard trailers.count < Self.trailerLimit else { throw .trailersTooLong }
        if line[0] == UInt8(ascii: " ") || line[0] == UInt8(ascii: "\t") { throw .foldedField }
        guard let colon = line.firstIndex(of: UInt8(ascii: ":")), (1...255).contains(colon),
            FieldNameTable.shared.isToken(line[..<colon])
        else { throw .badFieldName }
        let name = FieldName(token: line[..<colon])
        // Those that frame a message or send it somewhere: RFC 9110 §6.5.1.
        if (1...8).contains(name.number) { throw .forbiddenTrailer }
        let value = line[(colon + 1)...].trimmed
        guard isFieldValue(value) else { throw .badFieldValue }
        trailers.append(name, Bytes(value))
    }
}
