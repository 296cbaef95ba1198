// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

/// Which texts a resolver may be asked for.
package enum HostName {
    /// RFC 1035 §2.3.4, in text.
    package static let maximumByteCount = 253

    /// Why a text is no name of a host; nil if it may be one.
    ///
    /// `getaddrinfo(3)` would stop reading at a zero byte, and would take "127.1", "0x7f000001" and
    /// "017700000001" for addresses: a check of the text that was made before would have seen
    /// another host. No name's last label is a number (RFC 3696 §2).
    package static func refusal(of text: String) -> ErrorCode? {
        let bytes = Array(text.utf8)
        if bytes.contains(where: { $0 <= UInt8(ascii: " ") || $0 == 0x7f }) {
            return .invalidArgument
        }
        if bytes.isEmpty { return .hostNotFound }
        if bytes.count > maximumByteCount + (bytes.last == UInt8(ascii: ".") ? 1 : 0) {
            return .nameTooLong
        }
        let labels = bytes.split(separator: UInt8(ascii: "."))
        guard let last = labels.last, !isNumber(last) else { return .hostNotFound }
        return nil
    }

    /// Whether a name is this machine's for itself, or within it: RFC 6761 §6.3.
    package static func isLocal(_ text: String) -> Bool {
        var bytes = text.utf8.map(\.asciiLowercased)[...]
        if bytes.last == UInt8(ascii: ".") { bytes = bytes.dropLast() }
        return bytes.suffix(9).elementsEqual("localhost".utf8)
            && (bytes.count == 9 || bytes.dropLast(9).last == UInt8(ascii: "."))
    }

    private static func isNumber(_ label: ArraySlice<UInt8>) -> Bool {
        let isDecimal = label.allSatisfy { (UInt8(ascii: "0")...UInt8(ascii: "9")).contains($0) }
        return isDecimal || label.starts(with: "0x".utf8) || label.starts(with: "0X".utf8)
    }
}
