// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

package import TorsionCore

/// An extension that a client offers, or a server has chosen: RFC 6455 §9.1.
package struct WebSocketExtension: Equatable {
    package struct Parameter: Equatable {
        package var name: String
        package var value: String?
    }

    package var name: String
    package var parameters: [Parameter] = []

    package init(name: String) { self.name = name }

    /// Reads the values of `Sec-WebSocket-Extensions`.
    ///
    /// - Returns: All of them, in order; `nil` if they are none by the grammar.
    package static func list(_ values: [Bytes]) -> [WebSocketExtension]? {
        var all: [WebSocketExtension] = []
        for value in values {
            var reader = ExtensionReader(value)
            guard let some = reader.readList() else { return nil }
            all += some
        }
        return all
    }
}

/// Reads one field's value.
private struct ExtensionReader {
    private let bytes: Bytes
    private var position = 0

    init(_ bytes: Bytes) { self.bytes = bytes }

    private var next: UInt8? { position < bytes.count ? bytes[position] : nil }

    mutating func readList() -> [WebSocketExtension]? {
        var list: [WebSocketExtension] = []
        while true {
            // An empty element is none: RFC 9110 §5.6.1.
            while take(UInt8(ascii: ",")) {}
            guard next != nil else { return list }
            guard let element = readExtension() else { return nil }
            list.append(element)
            skipSpaces()
            guard next == nil || next == UInt8(ascii: ",") else { return nil }
        }
    }

    private mutating func readExtension() -> WebSocketExtension? {
        guard let name = readToken() else { return nil }
        var element = WebSocketExtension(name: name)
        while take(UInt8(ascii: ";")) {
            guard let name = readToken() else { return nil }
            var parameter = WebSocketExtension.Parameter(name: name)
            if take(UInt8(ascii: "=")) {
                guard let value = readValue() else { return nil }
                parameter.value = value
            }
            element.parameters.append(parameter)
        }
        return element
    }

    /// A token, or one in quotes: what stands between them must be a token too.
    private mutating func readValue() -> String? {
        guard take(UInt8(ascii: "\"")) else { return readToken() }
        var value: [UInt8] = []
        while let byte = next, byte != UInt8(ascii: "\"") {
            position += 1
            if byte == UInt8(ascii: "\\") {
                guard let escaped = next else { return nil }
                position += 1
                value.append(escaped)
            } else {
                value.append(byte)
            }
        }
        guard next != nil, !value.isEmpty, value.allSatisfy(Self.isOfToken) else { return nil }
        position += 1
        return String(decoding: value, as: UTF8.self)
    }

    private mutating func readToken() -> String? {
        skipSpaces()
        let start = position
        while let byte = next, Self.isOfToken(byte) { position += 1 }
        guard position > start else { return nil }
        return String(decoding: bytes[start..<position])
    }

    /// Skips spaces, and the byte if it comes.
    private mutating func take(_ byte: UInt8) -> Bool {
        skipSpaces()
        guard next == byte else { return false }
        position += 1
        return true
    }

    private mutating func skipSpaces() {
        while next == UInt8(ascii: " ") || next == 9 { position += 1 }
    }

    /// RFC 9110 §5.6.2.
    private static func isOfToken(_ byte: UInt8) -> Bool {
        switch byte {
        case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"),
            UInt8(ascii: "0")...UInt8(ascii: "9"):
            true
        default: "!#$%&'*+-.^_`|~".utf8.contains(byte)
        }
    }
}
