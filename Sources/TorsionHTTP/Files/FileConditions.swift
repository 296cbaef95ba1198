// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

internal import TorsionCore

/// What a request for a file says of what its client has, and of what part it wants.
///
/// Copied from the head, since a file is opened on another thread.
struct FileConditions {
    private let ifMatch: [Bytes]
    private let ifNoneMatch: [Bytes]
    private let ifModifiedSince: Bytes?
    private let ifUnmodifiedSince: Bytes?
    private let ifRange: Bytes?
    private let range: Bytes?
    private let isReading: Bool

    init(_ head: borrowing RequestHead) {
        isReading = head.method == .get || head.method == .head
        ifMatch = Self.values(of: .ifMatch, head)
        ifNoneMatch = Self.values(of: .ifNoneMatch, head)
        ifModifiedSince = Self.values(of: .ifModifiedSince, head).first
        ifUnmodifiedSince = Self.values(of: .ifUnmodifiedSince, head).first
        ifRange = Self.values(of: .ifRange, head).first
        // Only of GET (RFC 9110 §14.2), and one line of it.
        let ranges = head.method == .get ? Self.values(of: .range, head) : []
        range = ranges.count == 1 ? ranges[0] : nil
    }

    private static func values(of name: FieldName, _ head: borrowing RequestHead) -> [Bytes] {
        var values: [Bytes] = []
        var next = head.index(of: name)
        while let index = next {
            values.append(Bytes(head.fieldValue(index)))
            next = head.index(of: name, from: index + 1)
        }
        return values
    }

    /// What is to be sent of a file.
    enum Verdict: Equatable {
        case whole
        case part(Range<Int64>)
        case notModified
        case preconditionFailed
        case rangeNotSatisfiable
    }

    /// In the order of RFC 9110 §13.2.2.
    func verdict(_ status: FileStatus, tag: Bytes, now: WallTime?) -> Verdict {
        let modified = HTTPDate(seconds: status.modified.seconds)
        if !ifMatch.isEmpty {
            guard Self.contains(ifMatch, tag, isWeak: false) else { return .preconditionFailed }
        } else if let date = Self.date(ifUnmodifiedSince, now), modified > date {
            return .preconditionFailed
        }
        if !ifNoneMatch.isEmpty {
            if Self.contains(ifNoneMatch, tag, isWeak: true) {
                return isReading ? .notModified : .preconditionFailed
            }
        } else if isReading, let date = Self.date(ifModifiedSince, now), modified <= date {
            return .notModified
        }
        guard let range, isRangeValid(tag, modified, now) else { return .whole }
        return Self.part(range.span, of: status.byteCount)
    }

    private func isRangeValid(_ tag: Bytes, _ modified: HTTPDate, _ now: WallTime?) -> Bool {
        guard let ifRange else { return true }
        // The comparison is strong, and of dates exact (RFC 9110 §13.1.5).
        return ifRange == tag || Self.date(ifRange, now) == modified
    }

    private static func date(_ text: Bytes?, _ now: WallTime?) -> HTTPDate? {
        guard let text else { return nil }
        return HTTPDate(text.span, now: now)
    }

    /// Whether a list of tags, or `*`, has this one: RFC 9110 §8.8.3.2.
    private static func contains(_ lists: [Bytes], _ tag: Bytes, isWeak: Bool) -> Bool {
        for list in lists {
            if list == "*" { return true }
            var position = 0
            let span = list.span
            // Tags have no quotation marks inside, but may have commas.
            while let start = span.firstIndex(of: UInt8(ascii: "\""), from: position),
                let end = span.firstIndex(of: UInt8(ascii: "\""), from: start + 1)
            {
                let isThisWeak = start >= 2 && span[(start - 2)..<start] == "W/"
                if span[start...end] == tag.span, isWeak || !isThisWeak { return true }
                position = end + 1
            }
        }
        return false
    }

    /// One range of bytes; several, and what is none, are the whole (RFC 9110 §14.2).
    private static func part(_ text: RawSpan, of count: Int64) -> Verdict {
        // No range of an empty file can be named in an answer, and clients that always send one want
        // the file: Apache and nginx send it.
        guard count > 0, text.startsIgnoringCase(with: "bytes=") else { return .whole }
        let range = text[6...].trimmed
        guard let dash = range.firstIndex(of: UInt8(ascii: "-")) else { return .whole }
        let first = range[..<dash].trimmed
        let last = range[(dash + 1)...].trimmed
        if first.isEmpty {
            guard let suffix = number(last) else { return .whole }
            guard suffix > 0 else { return .rangeNotSatisfiable }
            return .part(max(0, count - suffix)..<count)
        }
        guard let start = number(first) else { return .whole }
        guard !last.isEmpty else {
            return start < count ? .part(start..<count) : .rangeNotSatisfiable
        }
        guard let end = number(last), end >= start else { return .whole }
        guard start < count else { return .rangeNotSatisfiable }
        return .part(start..<min(count, end &+ 1))
    }

    /// A number of digits; one that is too long is the largest.
    private static func number(_ text: RawSpan) -> Int64? {
        guard !text.isEmpty else { return nil }
        for index in text.indices where text[index] &- UInt8(ascii: "0") > 9 { return nil }
        return text.byteCount > 18 ? Int64.max - 1 : Int64(decimal: text)
    }
}
