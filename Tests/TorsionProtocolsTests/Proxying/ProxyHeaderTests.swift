// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

import Testing
import Torsion
import TorsionTesting

private let signature: [UInt8] = [13, 10, 13, 10, 0, 13, 10, 81, 85, 73, 84, 10]

/// A header of version 2 with these bytes behind its signature.
func binary(_ command: UInt8, _ family: UInt8, _ following: [UInt8]) -> Bytes {
    let length = [UInt8(following.count >> 8), UInt8(following.count & 0xff)]
    return Bytes(signature + [command, family] + length + following)
}

private func unixField(_ text: [UInt8]) -> [UInt8] {
    text + [UInt8](repeating: 0, count: 108 - text.count)
}

/// A header, and what it says.
struct HeaderVector: CustomTestStringConvertible, Sendable {
    let bytes: Bytes
    var source: String?
    var destination: String?
    var extensions: [ProxyHeader.Extension] = []

    var testDescription: String { "\(bytes)" }

    static let tcp4: [UInt8] = [192, 0, 2, 1, 192, 0, 2, 2, 0xdc, 0x04, 0x01, 0xbb]
    private static let tcp6: [UInt8] =
        [0x20, 1, 0x0d, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1]
        + [0x20, 1, 0x0d, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2] + [0xdc, 0x04, 0x01, 0xbb]

    static let all = [
        HeaderVector(
            bytes: "PROXY TCP4 192.0.2.1 192.0.2.2 56324 443\r\n",
            source: "192.0.2.1:56324", destination: "192.0.2.2:443"),
        HeaderVector(
            bytes: "PROXY TCP4 255.255.255.255 255.255.255.255 65535 65535\r\n",
            source: "255.255.255.255:65535", destination: "255.255.255.255:65535"),
        HeaderVector(
            bytes: "PROXY TCP6 2001:DB8::1 ::1 0 1\r\n",
            source: "[2001:db8::1]:0", destination: "[::1]:1"),
        HeaderVector(
            bytes: "PROXY TCP6 ::ffff:192.0.2.1 0:0:0:0:0:ffff:c000:202 5 6\r\n",
            source: "[::ffff:192.0.2.1]:5", destination: "[::ffff:192.0.2.2]:6"),
        HeaderVector(bytes: "PROXY UNKNOWN\r\n"),
        HeaderVector(bytes: "PROXY UNKNOWN what\rever 192.0.2.1  \r\n"),
        HeaderVector(
            bytes: binary(0x21, 0x11, tcp4), source: "192.0.2.1:56324",
            destination: "192.0.2.2:443"),
        HeaderVector(
            bytes: binary(0x21, 0x21, tcp6), source: "[2001:db8::1]:56324",
            destination: "[2001:db8::2]:443"),
        HeaderVector(
            bytes: binary(
                0x21, 0x31, unixField(Array("/run/a".utf8)) + unixField([0, 97, 0, 98])),
            source: "unix:/run/a", destination: "unix:@a\\x00b"),
        HeaderVector(
            bytes: binary(0x21, 0x31, unixField([]) + unixField([])),
            source: "unix:(unnamed)", destination: "unix:(unnamed)"),
        // The proxy itself, whatever stands behind it.
        HeaderVector(bytes: binary(0x20, 0, [])),
        HeaderVector(bytes: binary(0x20, 0xff, [1, 2, 3])),
        HeaderVector(bytes: binary(0x21, 0, [1, 2, 3])),
        // Datagrams are skipped.
        HeaderVector(bytes: binary(0x21, 0x12, tcp4)),
        HeaderVector(
            bytes: binary(0x21, 0x11, tcp4 + [4, 0, 0, 2, 0, 1, 97, 0xe0, 0, 2, 1, 2]),
            source: "192.0.2.1:56324", destination: "192.0.2.2:443",
            extensions: [
                .init(type: 4, value: []), .init(type: 2, value: "a"),
                .init(type: 0xe0, value: [1, 2]),
            ]),
    ]
}

/// Bytes that are no header, and why.
struct WrongHeaderVector: CustomTestStringConvertible, Sendable {
    let bytes: Bytes
    let error: ProxyHeaderError

    var testDescription: String { "\(bytes): \(error)" }

    private static func line(_ rest: String, _ part: String) -> WrongHeaderVector {
        let bytes = Bytes("PROXY \(rest)\r\n")
        return WrongHeaderVector(
            bytes: bytes, error: .malformed(part, byteCount: bytes.count))
    }

    static let all =
        [
            WrongHeaderVector(bytes: "GET / HTTP/1.1\r\n", error: .notAHeader(byteCount: 1)),
            WrongHeaderVector(bytes: "PROXZ", error: .notAHeader(byteCount: 5)),
            WrongHeaderVector(bytes: "PROXY\t", error: .notAHeader(byteCount: 6)),
            WrongHeaderVector(bytes: "\r\n\r\n\0\r\nQUIX", error: .notAHeader(byteCount: 11)),
            WrongHeaderVector(
                bytes: "PROXY UNKNOWN\n", error: .malformed("end of the line", byteCount: 14)),
            WrongHeaderVector(
                bytes: Bytes("PROXY UNKNOWN " + String(repeating: "x", count: 100)),
                error: .tooLong(byteCount: 108, limitBytes: 107)),
            line("TCP4 192.0.2.1 192.0.2.2 1  2", "line"),
            line("TCP4  192.0.2.1 192.0.2.2 1 2", "line"),
            line(" TCP4 192.0.2.1 192.0.2.2 1 2", "line"),
            line("TCP4 192.0.2.1 192.0.2.2 1", "line"),
            line("TCP4 192.0.2.1 192.0.2.2 1 2 ", "line"),
            line("TCP5 192.0.2.1 192.0.2.2 1 2", "family"),
            line("tcp4 192.0.2.1 192.0.2.2 1 2", "family"),
            line("TCP4 192.0.2.01 192.0.2.2 1 2", "address"),
            line("TCP4 192.0.2.256 192.0.2.2 1 2", "address"),
            line("TCP4 ::1 192.0.2.2 1 2", "address"),
            line("TCP6 192.0.2.1 ::1 1 2", "address"),
            line("TCP6 fe80::1%2 ::1 1 2", "address"),
            line("TCP4 192.0.2.1 192.0.2.2 01 2", "port"),
            line("TCP4 192.0.2.1 192.0.2.2 +1 2", "port"),
            line("TCP4 192.0.2.1 192.0.2.2 1 65536", "port"),
            line("", "line"),
            WrongHeaderVector(
                bytes: binary(0x31, 0x11, HeaderVector.tcp4),
                error: .malformed("command", byteCount: 13)),
            WrongHeaderVector(
                bytes: binary(0x22, 0x11, HeaderVector.tcp4),
                error: .malformed("command", byteCount: 13)),
            WrongHeaderVector(
                bytes: binary(0x21, 0x41, HeaderVector.tcp4),
                error: .malformed("family", byteCount: 14)),
            WrongHeaderVector(
                bytes: binary(0x21, 0x13, HeaderVector.tcp4),
                error: .malformed("family", byteCount: 14)),
            WrongHeaderVector(
                bytes: binary(0x21, 0x21, HeaderVector.tcp4),
                error: .malformed("address", byteCount: 28)),
            WrongHeaderVector(
                bytes: binary(0x21, 0x31, [UInt8](repeating: 65, count: 216)),
                error: .malformed("path", byteCount: 232)),
            WrongHeaderVector(
                bytes: binary(0x21, 0x11, HeaderVector.tcp4 + [2, 0]),
                error: .malformed("extension", byteCount: 30)),
            WrongHeaderVector(
                bytes: binary(0x21, 0x11, HeaderVector.tcp4 + [2, 0, 1]),
                error: .malformed("extension", byteCount: 31)),
            WrongHeaderVector(
                bytes: binary(0x21, 0x11, HeaderVector.tcp4 + [3, 0, 1, 7]),
                error: .malformed("checksum", byteCount: 32)),
            WrongHeaderVector(
                bytes: Bytes(signature + [0x21, 0x11, 0xff, 0xff]),
                error: .tooLong(byteCount: 65_551, limitBytes: 4096)),
        ]
}

@Suite struct ProxyHeaderTests {
    private static func decode(_ pieces: [Bytes]) throws -> (ProxyHeader, rest: Bytes)? {
        var decoder = ProxyHeaderDecoder()
        for (index, piece) in pieces.enumerated() {
            guard let found = try decoder.decode(piece.span) else {
                #expect(decoder.partialByteCount <= decoder.limitBytes)
                continue
            }
            var rest = [UInt8](piece[found.usedByteCount...].span)
            for piece in pieces[(index + 1)...] { rest += piece.span }
            return (found.header, Bytes(rest))
        }
        return nil
    }

    // L1
    @Test(arguments: HeaderVector.all)
    func `a header says the same however it is cut, and takes no byte behind it`(
        vector: HeaderVector
    ) throws {
        let bytes = Bytes([UInt8](vector.bytes.span) + Array("\r\nrest".utf8))
        for pieces in chunkings(of: bytes) {
            let (header, rest) = try #require(try Self.decode(pieces))
            #expect(header.addresses?.source.description == vector.source)
            #expect(header.addresses?.destination.description == vector.destination)
            #expect(header.extensions == vector.extensions && !header.hasChecksum)
            #expect(rest == "\r\nrest")
        }
    }

    // L1
    @Test(arguments: WrongHeaderVector.all)
    func `what is no header is refused however it is cut`(vector: WrongHeaderVector) {
        for pieces in chunkings(of: vector.bytes) {
            #expect(throws: vector.error) { try Self.decode(pieces) }
        }
    }

    @Test(arguments: HeaderVector.all)
    func `a header that is cut off is not yet one`(vector: HeaderVector) throws {
        for count in 0..<vector.bytes.count {
            #expect(try Self.decode([vector.bytes[..<count]]) == nil)
        }
    }

    @Test(
        arguments: [
            ("192.0.2.1:1", "192.0.2.2:65535"), ("[2001:db8::1]:1", "[::]:2"),
            ("unix:/run/a", "unix:@b"), ("192.0.2.1:1", "[2001:db8::1]:1"),
        ], [ProxyHeader.Version.v1, .v2])
    func `what is written is read as the same`(
        ends: (String, String), version: ProxyHeader.Version
    ) throws {
        let source = SocketAddress(ends.0)!, destination = SocketAddress(ends.1)!
        var header = ProxyHeader(source: source, destination: destination, version: version)
        if version == .v2 {
            header.hasChecksum = true
            header.extensions = [
                .init(type: ProxyHeader.Extension.authority, value: "example.org"),
                .init(type: ProxyHeader.Extension.uniqueID, value: [1, 2, 3]),
            ]
        }
        let (read, rest) = try #require(try Self.decode([header.encoded()]))
        #expect(rest.isEmpty)
        switch (source, destination) {
        case (.unix, _) where version == .v1: #expect(read.addresses == nil)
        case (.ipv4(let address, _), .ipv6):
            let mapped = SocketAddress.ipv6(IPv6Address(mapping: address), port: 1)
            #expect(read.addresses?.source == mapped)
        default: #expect(read == header)
        }
        #expect(read.authority == (version == .v2 ? "example.org" : nil))
    }

    @Test func `a header about nobody is read as such`() throws {
        for version in [ProxyHeader.Version.v1, .v2] {
            let header = ProxyHeader.local(version: version)
            let (read, _) = try #require(try Self.decode([header.encoded()]))
            #expect(read == header)
        }
        let ends = (SocketAddress("unix:/run/a")!, SocketAddress("192.0.2.1:1")!)
        let header = ProxyHeader(source: ends.0, destination: ends.1)
        let (read, _) = try #require(try Self.decode([header.encoded()]))
        #expect(read.addresses == nil)
    }

    @Test func `a line is the one that the protocol's own text shows`() throws {
        let header = ProxyHeader(
            source: SocketAddress("192.168.0.1:56324")!,
            destination: SocketAddress("192.168.0.11:443")!, version: .v1)
        #expect(try header.encoded() == "PROXY TCP4 192.168.0.1 192.168.0.11 56324 443\r\n")
    }

    @Test func `a checksum with one bit changed is refused`() throws {
        var header = ProxyHeader(
            source: SocketAddress("192.0.2.1:1")!, destination: SocketAddress("192.0.2.2:2")!)
        header.hasChecksum = true
        let whole = try header.encoded()
        let bytes = [UInt8](whole.span)
        // The addresses, not what says how to read them, and the checksum itself.
        for position in [16, 27, 31, 34] {
            var changed = bytes
            changed[position] ^= 1
            #expect {
                try Self.decode([Bytes(changed)])
            } throws: { error in
                guard case .wrongChecksum? = error as? ProxyHeaderError else { return false }
                return true
            }
        }
    }

    @Test func `extensions that do not fit are refused to the sender`() throws {
        var header = ProxyHeader.local()
        header.extensions = [.init(type: 0xe0, value: Bytes([UInt8](repeating: 0, count: 40_000)))]
        #expect(try header.encoded().count == 40_019)
        header.extensions += header.extensions
        #expect(throws: ProxyHeaderError.self) { try header.encoded() }
        header.extensions = [.init(type: 0xe0, value: Bytes([UInt8](repeating: 0, count: 65_536)))]
        #expect(throws: ProxyHeaderError.self) { try header.encoded() }
    }

    @Test func `a decoder that has finished, or a limit too small, is a mistake`() async {
        await #expect(processExitsWith: .failure) {
            var decoder = ProxyHeaderDecoder()
            _ = try decoder.decode(Bytes("PROXY UNKNOWN\r\n").span)
            _ = try decoder.decode(Bytes("x").span)
        }
        await #expect(processExitsWith: .failure) { _ = ProxyHeaderDecoder(limitBytes: 15) }
    }
}
