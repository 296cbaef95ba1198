// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

internal import TorsionCore

/// Which texts the system's resolver may be asked for.
enum HostName {
    /// RFC 1035 §2.3.4, in text.
    static let maximumByteCount = 253

    /// Why a text is no name of a host; nil if it may be one.
    ///
    /// `getaddrinfo(3)` would stop reading at a zero byte, and would take "127.1", "0x7f000001" and
    /// "017700000001" for addresses: a check of the text that was made before would have seen
    /// another host. No name's last label is a number (RFC 3696 §2).
    static func refusal(of text: String) -> ErrorCode? {
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

    private static func isNumber(_ label: ArraySlice<UInt8>) -> Bool {
        let isDecimal = label.allSatisfy { (UInt8(ascii: "0")...UInt8(ascii: "9")).contains($0) }
        return isDecimal || label.starts(with: "0x".utf8) || label.starts(with: "0X".utf8)
    }
}
