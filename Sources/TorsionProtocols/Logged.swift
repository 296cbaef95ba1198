// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

public import TorsionCore

/// A layer that dumps the traffic of a connection in hexadecimal, for any protocol.
///
///     endpoint.wrapped { Logged(above: $0) { print($0) } }.listen(on: reactor) { Echo() }
///
/// A piece of traffic is one text of several lines, the first with the connection and the
/// direction, then one for each sixteen bytes:
///
///     1.7 < 5 bytes
///     00000000  68 65 6c 6c 6f                                   |hello|
public final class Logged: StreamLayer {
    private let log: (String) -> Void

    /// A log under a protocol.
    ///
    /// `log`: Given each piece of traffic, and each event, as text; on the reactor.
    public init(above: any StreamProtocol, _ log: @escaping (String) -> Void) {
        self.log = log
        super.init(above: above)
    }

    /// Logs the two addresses.
    public override func connectionMade(_ transport: any StreamTransport) throws {
        log("\(transport.id) made: \(transport.localAddress) to \(transport.peerAddress)")
        try super.connectionMade(transport)
    }

    /// Logs what arrived.
    public override func dataReceived(
        _ bytes: RawSpan, from transport: any StreamTransport
    ) throws {
        dump(bytes, "<")
        try super.dataReceived(bytes, from: transport)
    }

    /// Logs the peer's end.
    public override func readConnectionLost(from transport: any StreamTransport) throws {
        log("\(id) < end")
        try super.readConnectionLost(from: transport)
    }

    /// Logs the reason.
    public override func connectionLost(
        _ why: ConnectionLoss, from transport: any StreamTransport
    ) {
        log("\(id) lost: \(why)")
        super.connectionLost(why, from: transport)
    }

    /// Logs what is written.
    public override func write(_ bytes: RawSpan) {
        dump(bytes, ">")
        super.write(bytes)
    }

    /// Logs what is written.
    public override func write(_ bytes: Bytes) {
        dump(bytes.span, ">")
        super.write(bytes)
    }

    private func dump(_ bytes: RawSpan, _ direction: String) {
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
