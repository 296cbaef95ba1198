// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

internal import TorsionCore

/// A head that has come in part, with what a parser needs to go on where it stopped.
///
/// A connection has one only while a head is cut.
package final class HeldHead {
    package private(set) var bytes: [UInt8]
    package private(set) var parser: HeadParser
    fileprivate let slots: FieldSlots

    /// Of a request.
    ///
    /// - Parameters:
    ///   - bytes: What has come; it was parsed before, and was incomplete.
    ///   - limits: The head's.
    package convenience init(_ bytes: RawSpan, limits: HeadLimits) {
        self.init(bytes, HeadParser(limits: limits))
    }

    /// Of a request.
    ///
    /// - Parameter limits: The head's.
    package convenience init(limits: HeadLimits) { self.init(RawSpan(), limits: limits) }

    /// Of an answer.
    ///
    /// - Parameters:
    ///   - bytes: What has come; it was parsed before, and was incomplete.
    ///   - limits: The head's.
    convenience init(ofAnswer bytes: RawSpan, limits: HeadLimits) {
        self.init(bytes, HeadParser(ofAnswer: limits))
    }

    private init(_ bytes: RawSpan, _ parser: HeadParser) {
        self.bytes = [UInt8](bytes)
        self.parser = parser
        slots = FieldSlots(capacity: parser.limits.fieldCount)
        _ = unsafe self.parser.parse(self.bytes.span.bytes, slots.base)
    }

    /// Adds what has come, and parses the lines that are whole by now.
    ///
    /// - Complexity: O(*n*) in the number of bytes added, and in those of lines that have ended.
    package func add(_ more: RawSpan) -> HeadParser.Outcome {
        let formerCount = bytes.count
        bytes += more
        let whole = bytes
        guard parser.hasWork(from: formerCount, in: whole.span.bytes) else { return .incomplete }
        return unsafe parser.parse(whole.span.bytes, slots.base)
    }

    /// Lends the whole head.
    ///
    /// - Precondition: ``add(_:)`` has returned `complete`.
    package func withHead<Result>(_ body: (borrowing RequestHead) throws -> Result) rethrows
        -> Result
    {
        let whole = bytes
        let facts = parser.facts
        let start = unsafe slots.base
        let fields = unsafe Span<FieldSlot>(_unsafeStart: start, count: Int(facts.fieldCount))
        defer { extendLifetime(slots) }
        return try body(RequestHead(bytes: whole.span.bytes, slots: fields, facts: facts))
    }
}

extension HeldHead {
    /// A copy of the whole head of an answer.
    ///
    /// - Precondition: ``add(_:)`` has returned `complete`.
    func responseHead() -> ResponseHead {
        let whole = bytes
        defer { extendLifetime(slots) }
        return unsafe ResponseHead(whole.span.bytes, slots.base, parser.facts)
    }
}

/// Bytes that have come and cannot be used yet: they wait for an answer, or for the program to ask.
final class HeldBytes {
    private(set) var bytes: [UInt8]
    /// Those before this one were used.
    private(set) var start = 0

    init(_ bytes: RawSpan) { self.bytes = [UInt8](bytes) }

    /// Notes that some more were used.
    ///
    /// - Returns: Whether any are left.
    func use(_ byteCount: Int) -> Bool {
        start += byteCount
        return start < bytes.count
    }
}
