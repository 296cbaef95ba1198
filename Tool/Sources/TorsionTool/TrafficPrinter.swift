// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

internal import ArgumentParser
internal import Synchronization
internal import Torsion
@_spi(Tool) internal import TorsionCore

/// How what passes is shown.
enum TrafficForm: String, ExpressibleByArgument, CaseIterable, Sendable {
    case hex, text
}

/// What stands for the two directions of a connection.
struct TrafficArrows: Sendable {
    let received: Character
    let written: Character

    /// Of a peer that is talked to: `<` for what it sends.
    static let ofPeer = TrafficArrows(received: "<", written: ">")
    /// Of a client that is joined to another place: `>` for what it sends there.
    static let ofClient = TrafficArrows(received: ">", written: "<")
}

/// Writes rows about one connection to standard error, and never waits for that: rows that would have
/// to are left out and counted.
///
/// Each row begins with the connection's number, which counts those of the process.
struct TrafficRows {
    /// At most so much of a piece is shown.
    static let shownByteCount = 4096
    /// A row shows so many bytes at most, whatever they are written as.
    private static let rowByteCount = 512
    private static let hexRowByteCount = 16
    /// What standard error takes whole or not at all, less room for a count.
    private static let blockByteCount = 4_000
    private static let numbers = Atomic(1)

    private let form: TrafficForm
    /// Whether each piece is shown with its length, since its bounds mean something.
    private let isOfDatagrams: Bool
    private let number: Int
    private var omittedCount = 0
    /// By direction, for the offsets of hexadecimal rows.
    private var byteCounts: [Character: Int] = [:]

    init(_ form: TrafficForm, ofDatagrams isOfDatagrams: Bool = false) {
        self.form = form
        self.isOfDatagrams = isOfDatagrams
        number = Self.numbers.wrappingAdd(1, ordering: .relaxed).oldValue
    }

    /// So many bytes have gone this way.
    private func byteCount(_ arrow: Character) -> Int { byteCounts[arrow] ?? 0 }

    /// An event.
    mutating func add(_ event: String) { write(["\(number) \(event)"]) }

    /// The last event.
    mutating func addEnd(_ reason: String) {
        add("closed after \(counted(byteCount(">"))) > and \(counted(byteCount("<"))) <: \(reason)")
    }

    /// A piece of what passes.
    mutating func add(_ bytes: RawSpan, _ arrow: Character) {
        let offset = byteCount(arrow)
        byteCounts[arrow] = offset + bytes.byteCount
        let shown = bytes.extracting(..<min(bytes.byteCount, Self.shownByteCount))
        var rows = form == .hex ? Self.hexRows(shown, offset) : Self.textRows(shown)
        if form == .hex || isOfDatagrams { rows.insert(counted(bytes.byteCount), at: 0) }
        let hidden = bytes.byteCount - shown.byteCount
        if hidden > 0 { rows.append("(\(counted(hidden)) more)") }
        write(rows.map { "\(number) \(arrow) \($0)" })
    }

    private mutating func write(_ rows: [String]) {
        var block = ""
        var count = 0
        for row in rows {
            if block.utf8.count + row.utf8.count > Self.blockByteCount {
                flush(block, count)
                (block, count) = ("", 0)
            }
            block += row + "\n"
            count += 1
        }
        flush(block, count)
    }

    private mutating func flush(_ block: String, _ rowCount: Int) {
        // By a write of its own: of the two in one, the count may be all that was taken.
        if omittedCount > 0, writeStandardError("\(number) (\(omittedCount) lines left out)\n") {
            omittedCount = 0
        }
        if omittedCount > 0 || !writeStandardError(block) { omittedCount += rowCount }
    }

    private static func hexRows(_ bytes: RawSpan, _ offset: Int) -> [String] {
        stride(from: 0, to: bytes.byteCount, by: hexRowByteCount).map { start in
            var numbers = ""
            var letters = ""
            for index in start..<min(bytes.byteCount, start + hexRowByteCount) {
                let byte = bytes[index]
                numbers += " " + hexadecimal(byte)
                letters.unicodeScalars.append(
                    (32..<127).contains(byte) ? Unicode.Scalar(byte) : ".")
            }
            numbers += String(repeating: " ", count: 3 * hexRowByteCount - numbers.utf8.count)
            let place = String(offset + start, radix: 16)
            let zeros = String(repeating: "0", count: max(0, 8 - place.count))
            return "\(zeros)\(place) \(numbers)  |\(letters)|"
        }
    }

    /// A row for each line, with what would move a terminal's cursor written as Swift has it.
    private static func textRows(_ bytes: RawSpan) -> [String] {
        var rows: [String] = []
        var row = ""
        var count = 0
        var index = 0
        while index < bytes.byteCount {
            let length = scalarByteCount(bytes, index)
            let last = bytes[index]
            row += length == 0 ? "\\x\(hexadecimal(last))" : escaped(bytes, index, length)
            index += max(1, length)
            count += max(1, length)
            guard last == UInt8(ascii: "\n") || count >= rowByteCount else { continue }
            rows.append(row)
            (row, count) = ("", 0)
        }
        return row.isEmpty ? rows : rows + [row]
    }

    /// How many bytes the scalar there has in UTF-8; 0 if it is none.
    private static func scalarByteCount(_ bytes: RawSpan, _ index: Int) -> Int {
        let length =
            switch bytes[index] {
            case 0..<0x80: 1
            case 0xc2..<0xe0: 2
            case 0xe0..<0xf0: 3
            case 0xf0..<0xf5: 4
            default: 0
            }
        guard length > 0, index + length <= bytes.byteCount,
            String(validating: bytes.extracting(index..<index + length)) != nil
        else { return 0 }
        return length
    }

    private static func escaped(_ bytes: RawSpan, _ index: Int, _ length: Int) -> String {
        let text = String(decoding: bytes.extracting(index..<index + length))
        return text.unicodeScalars.map { $0 == "\\" ? "\\\\" : $0.terminalText }.joined()
    }
}

/// A number of bytes, in words.
private func counted(_ byteCount: Int) -> String {
    "\(byteCount) \(byteCount == 1 ? "byte" : "bytes")"
}

/// Two digits.
func hexadecimal(_ byte: UInt8) -> String {
    (byte < 16 ? "0" : "") + String(byte, radix: 16)
}

/// Shows what passes by one connection: above TLS, so in the clear.
final class TrafficPrinter: ConnectionObserver {
    private var rows: TrafficRows
    private let arrows: TrafficArrows

    init(_ form: TrafficForm, _ arrows: TrafficArrows) {
        rows = TrafficRows(form)
        self.arrows = arrows
    }

    func connectionMade(_ transport: any StreamTransport) {
        rows.add("connected: \(transport.peerAddress) at \(transport.localAddress)")
    }

    func willDeliver(_ bytes: RawSpan, of transport: any StreamTransport) {
        rows.add(bytes, arrows.received)
    }

    func didWrite(_ bytes: RawSpan, of transport: any StreamTransport) {
        rows.add(bytes, arrows.written)
    }

    func stateDidChange(_ change: ConnectionChange, of transport: any StreamTransport) {
        if change == .readClosed { rows.add("\(arrows.received) EOF") }
    }

    func didLose(_ why: ConnectionLoss, of transport: any StreamTransport) {
        rows.addEnd("\(why)")
    }
}
