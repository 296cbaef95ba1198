// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

public import TorsionCore

/// Writes the traffic of a connection in hexadecimal, for any protocol.
///
///     endpoint.logged { print($0) }.listen(on: reactor) { Echo() }
///
/// A piece of traffic is one text of several lines, the first with the connection and the
/// direction, then one for each sixteen bytes:
///
///     1.7 < 5 bytes
///     00000000  68 65 6c 6c 6f                                   |hello|
///
/// It stands above the filters, so what is encrypted below it is logged in the clear.
public final class TrafficLog: ConnectionObserver {
    private let log: (String) -> Void

    /// Makes a log for one connection.
    ///
    /// - Parameter log: Given each piece of traffic, and each event, as text; on the reactor.
    public init(_ log: @escaping (String) -> Void) { self.log = log }

    /// Logs the two addresses.
    ///
    /// - Parameter transport: The connection, named in each line.
    public func connectionMade(_ transport: any StreamTransport) {
        log("\(transport.id) made: \(transport.localAddress) to \(transport.peerAddress)")
    }

    /// Logs what arrived.
    ///
    /// - Parameters:
    ///   - bytes: Logged in hexadecimal and as ASCII.
    ///   - transport: The connection.
    public func willDeliver(_ bytes: RawSpan, of transport: any StreamTransport) {
        dump(bytes, "<", transport.id)
    }

    /// Logs what is written.
    ///
    /// - Parameters:
    ///   - bytes: Logged in hexadecimal and as ASCII.
    ///   - transport: The connection.
    public func didWrite(_ bytes: RawSpan, of transport: any StreamTransport) {
        dump(bytes, ">", transport.id)
    }

    /// Logs the peer's end.
    ///
    /// - Parameters:
    ///   - change: Only ``ConnectionChange/readClosed`` is logged.
    ///   - transport: The connection.
    public func stateDidChange(_ change: ConnectionChange, of transport: any StreamTransport) {
        if change == .readClosed { log("\(transport.id) < end") }
    }

    /// Logs the reason.
    ///
    /// - Parameters:
    ///   - why: Logged.
    ///   - transport: The connection.
    public func didLose(_ why: ConnectionLoss, of transport: any StreamTransport) {
        log("\(transport.id) lost: \(why)")
    }

    private func dump(_ bytes: RawSpan, _ direction: String, _ id: ConnectionID) {
        var text = "\(id) \(direction) \(bytes.byteCount) bytes"
        for start in stride(from: 0, to: bytes.byteCount, by: Self.rowByteCount) {
            let end = min(bytes.byteCount, start + Self.rowByteCount)
            text += "\n" + Self.row(bytes.extracting(start..<end), at: start)
        }
        log(text)
    }

    private static let rowByteCount = 16

    private static func row(_ bytes: RawSpan, at offset: Int) -> String {
        var numbers = ""
        var letters = ""
        for index in 0..<bytes.byteCount {
            let byte = bytes[index]
            numbers += " " + padded(String(byte, radix: 16), to: 2)
            letters.unicodeScalars.append((32..<127).contains(byte) ? Unicode.Scalar(byte) : ".")
        }
        numbers += String(repeating: "   ", count: rowByteCount - bytes.byteCount)
        return "\(padded(String(offset, radix: 16), to: 8)) \(numbers)  |\(letters)|"
    }

    private static func padded(_ digits: String, to width: Int) -> String {
        String(repeating: "0", count: max(0, width - digits.count)) + digits
    }
}
