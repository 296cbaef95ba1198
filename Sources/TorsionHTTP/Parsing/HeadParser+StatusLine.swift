// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

internal import TorsionCore

extension HeadParser {
    /// `HTTP/1.1 200 OK`: RFC 9112 §4.
    ///
    /// The line's end is found first, so that what stands behind it changes no verdict. The space in
    /// front of an empty phrase may be missing: there is one way to read such a line, and servers
    /// write it. The phrase itself means nothing (RFC 9110 §15.1).
    mutating func parseStatusLine(_ base: UnsafePointer<UInt8>, _ count: Int) -> Stop? {
        var end = 0
        while end < count, unsafe base[end] != UInt8(ascii: "\n") { end &+= 1 }
        guard end < count else { return .incomplete }
        if end >= limits.requestLineByteCount { return .error(.requestLineTooLong) }
        guard end > 0, unsafe base[end &- 1] == UInt8(ascii: "\r") else {
            return .error(.bareLineFeed)
        }
        end &-= 1
        guard end >= 12, unsafe base[8] == UInt8(ascii: " ") else { return .error(.badVersion) }
        if let error = unsafe takeVersion(load(base)) { return .error(error) }
        var status: UInt16 = 0
        for index in 9..<12 {
            let digit = unsafe base[index] &- UInt8(ascii: "0")
            guard digit < 10 else { return .error(.badTarget) }
            status = status * 10 + UInt16(digit)
        }
        guard (100...599).contains(status), unsafe end == 12 || base[12] == UInt8(ascii: " ")
        else { return .error(.badTarget) }
        facts.status = status
        let reason = min(13, end)
        let text = unsafe UnsafeRawBufferPointer(start: base + reason, count: end &- reason)
        guard unsafe isFieldValue(text) else { return .error(.badMethod) }
        facts.targetStart = UInt16(truncatingIfNeeded: reason)
        facts.targetCount = UInt16(truncatingIfNeeded: end &- reason)
        position = end &+ 2
        return nil
    }
}
