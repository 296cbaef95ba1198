// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

public import TorsionCore

/// The head of an answer, as a value.
///
/// It keeps one copy of the head, of which its parts are slices. Usable on any thread.
public struct ResponseHead: Sendable, Hashable {
    /// How the request was answered.
    public var status: HTTPStatus
    /// The text behind the status, to be ignored: RFC 9110 §15.1.
    public var reason: Bytes
    /// 1 for HTTP/1.1, 0 for HTTP/1.0.
    public var minorVersion: Int
    /// Its fields, in order.
    public var fields: FieldList

    /// Whether the connection cannot be used for a further request: RFC 9112 §9.3.
    package var closes: Bool {
        var flags: HeadFacts.Flags = []
        for (name, value) in fields.pairs where name.number == FieldName.connection.number {
            flags.formUnion(ConnectionOptions.flags(value.span))
        }
        return flags.contains(.close) || minorVersion == 0 && !flags.contains(.keepAlive)
    }

    /// How long the server keeps an idle connection, if it says so: `Keep-Alive: timeout=5`.
    var keepAliveTimeout: Duration? {
        guard let value = fields[.keepAlive] else { return nil }
        for part in value.split(separator: UInt8(ascii: ",")) {
            let part = part.span.trimmed
            guard part.startsIgnoringCase(with: "timeout=") else { continue }
            let number = UInt64(decimal: part[8...])
            return number.map { .seconds(Int64(min($0, 86_400))) }
        }
        return nil
    }

    /// - Parameters:
    ///   - bytes: What has come, from the head's first byte.
    ///   - slots: Of its fields.
    ///   - facts: What the parser has found.
    init(_ bytes: RawSpan, _ slots: UnsafePointer<FieldSlot>, _ facts: HeadFacts) {
        let whole = Bytes(bytes[..<facts.byteCount])
        func part(_ start: UInt16, _ count: UInt16) -> Bytes {
            whole[Int(start)..<Int(start) + Int(count)]
        }
        status = HTTPStatus(unchecked: Int(facts.status))
        reason = part(facts.targetStart, facts.targetCount)
        minorVersion = Int(facts.minorVersion)
        fields = FieldList()
        fields.pairs.reserveCapacity(Int(facts.fieldCount))
        for index in 0..<Int(facts.fieldCount) {
            let slot = unsafe slots[index]
            let name =
                slot.number != 0
                ? FieldName(number: slot.number)
                : FieldName(other: part(slot.nameStart, UInt16(slot.nameCount)))
            fields.pairs.append((name, part(slot.valueStart, slot.valueCount)))
        }
    }
}
