// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

// JSON on one line, for whatever is Encodable. Foundation has an encoder, and doubles the size of a
// program; what an operator asks for needs a hundred lines.

/// A value in the words of JSON (RFC 8259).
package indirect enum JSONValue: Hashable, Sendable {
    case null
    case bool(Bool)
    /// As it is written.
    case number(String)
    case string(String)
    case array([JSONValue])
    /// In the order in which they were encoded.
    case object([JSONMember])

    /// Encodes a value.
    ///
    /// - Parameter value: Its dictionaries with keys that are no strings become arrays, as Swift has it.
    /// - Throws: What its `encode(to:)` throws.
    package init(encoding value: any Encodable) throws {
        let node = JSONNode()
        try value.encode(to: JSONEncoding(node: node, codingPath: []))
        self = node.value
    }

    /// On one line.
    package var text: String {
        var text = ""
        write(to: &text)
        return text
    }

    private func write(to text: inout String) {
        switch self {
        case .null: text += "null"
        case .bool(let value): text += value ? "true" : "false"
        case .number(let digits): text += digits
        case .string(let string): Self.quote(string, &text)
        case .array(let values):
            text += "["
            for (index, value) in values.enumerated() {
                if index > 0 { text += "," }
                value.write(to: &text)
            }
            text += "]"
        case .object(let members):
            text += "{"
            for (index, member) in members.enumerated() {
                if index > 0 { text += "," }
                Self.quote(member.name, &text)
                text += ":"
                member.value.write(to: &text)
            }
            text += "}"
        }
    }

    private static func quote(_ string: String, _ text: inout String) {
        text += "\""
        for scalar in string.unicodeScalars {
            switch scalar {
            case "\"": text += "\\\""
            case "\\": text += "\\\\"
            case "\n": text += "\\n"
            case "\r": text += "\\r"
            case "\t": text += "\\t"
            case _ where scalar.value < 0x20 || scalar.value == 0x7f:
                let digits = String(scalar.value, radix: 16)
                text += "\\u" + String(repeating: "0", count: 4 - digits.count) + digits
            default: text.unicodeScalars.append(scalar)
            }
        }
        text += "\""
    }
}

/// One member of an object.
package struct JSONMember: Hashable, Sendable {
    let name: String
    let value: JSONValue
}

/// Where a value is being made.
private final class JSONNode {
    private enum Content {
        case none
        case value(JSONValue)
        case array([JSONNode])
        case object([(String, JSONNode)])
    }

    private var content = Content.none

    var value: JSONValue {
        switch content {
        case .none: .object([])
        case .value(let value): value
        case .array(let nodes): .array(nodes.map(\.value))
        case .object(let members):
            .object(members.map { JSONMember(name: $0.0, value: $0.1.value) })
        }
    }

    func set(_ value: JSONValue) { content = .value(value) }

    func beginArray() { if case .none = content { content = .array([]) } }

    func beginObject() { if case .none = content { content = .object([]) } }

    func appendElement() -> JSONNode {
        guard case .array(var nodes) = content else { return JSONNode() }
        let node = JSONNode()
        nodes.append(node)
        content = .array(nodes)
        return node
    }

    func appendMember(_ name: String) -> JSONNode {
        guard case .object(var members) = content else { return JSONNode() }
        let node = JSONNode()
        members.append((name, node))
        content = .object(members)
        return node
    }

    var elementCount: Int { if case .array(let nodes) = content { nodes.count } else { 0 } }
}

/// A number, written as JSON has it; what is no number becomes null.
private func number(_ value: Double) -> JSONValue {
    guard value.isFinite else { return .null }
    let text = "\(value)"
    return .number(text.hasSuffix(".0") ? String(text.dropLast(2)) : text)
}

private struct JSONEncoding: Encoder {
    let node: JSONNode
    let codingPath: [any CodingKey]
    var userInfo: [CodingUserInfoKey: Any] { [:] }

    func container<Key: CodingKey>(keyedBy type: Key.Type) -> KeyedEncodingContainer<Key> {
        node.beginObject()
        return KeyedEncodingContainer(JSONObjectEncoding(node: node, codingPath: codingPath))
    }

    func unkeyedContainer() -> any UnkeyedEncodingContainer {
        node.beginArray()
        return JSONArrayEncoding(node: node, codingPath: codingPath)
    }

    func singleValueContainer() -> any SingleValueEncodingContainer { self }
}

extension JSONEncoding: SingleValueEncodingContainer {
    func encodeNil() { node.set(.null) }
    func encode(_ value: Bool) { node.set(.bool(value)) }
    func encode(_ value: String) { node.set(.string(value)) }
    func encode(_ value: Double) { node.set(number(value)) }
    func encode(_ value: Float) { node.set(number(Double(value))) }
    func encode(_ value: Int) { node.set(.number("\(value)")) }
    func encode(_ value: Int8) { node.set(.number("\(value)")) }
    func encode(_ value: Int16) { node.set(.number("\(value)")) }
    func encode(_ value: Int32) { node.set(.number("\(value)")) }
    func encode(_ value: Int64) { node.set(.number("\(value)")) }
    func encode(_ value: UInt) { node.set(.number("\(value)")) }
    func encode(_ value: UInt8) { node.set(.number("\(value)")) }
    func encode(_ value: UInt16) { node.set(.number("\(value)")) }
    func encode(_ value: UInt32) { node.set(.number("\(value)")) }
    func encode(_ value: UInt64) { node.set(.number("\(value)")) }
    func encode(_ value: some Encodable) throws { try value.encode(to: self) }
}

private struct JSONObjectEncoding<Key: CodingKey>: KeyedEncodingContainerProtocol {
    let node: JSONNode
    let codingPath: [any CodingKey]

    private func member(_ key: any CodingKey) -> JSONEncoding {
        JSONEncoding(node: node.appendMember(key.stringValue), codingPath: codingPath + [key])
    }

    func encodeNil(forKey key: Key) { member(key).encodeNil() }

    func encode(_ value: some Encodable, forKey key: Key) throws {
        try value.encode(to: member(key))
    }

    func nestedContainer<Nested: CodingKey>(
        keyedBy type: Nested.Type, forKey key: Key
    ) -> KeyedEncodingContainer<Nested> { member(key).container(keyedBy: type) }

    func nestedUnkeyedContainer(forKey key: Key) -> any UnkeyedEncodingContainer {
        member(key).unkeyedContainer()
    }

    func superEncoder() -> any Encoder {
        JSONEncoding(node: node.appendMember("super"), codingPath: codingPath)
    }

    func superEncoder(forKey key: Key) -> any Encoder { member(key) }
}

private struct JSONArrayEncoding: UnkeyedEncodingContainer {
    let node: JSONNode
    let codingPath: [any CodingKey]
    var count: Int { node.elementCount }

    private var element: JSONEncoding {
        JSONEncoding(node: node.appendElement(), codingPath: codingPath)
    }

    func encodeNil() { element.encodeNil() }

    func encode(_ value: some Encodable) throws { try value.encode(to: element) }

    func nestedContainer<Nested: CodingKey>(
        keyedBy type: Nested.Type
    ) -> KeyedEncodingContainer<Nested> { element.container(keyedBy: type) }

    func nestedUnkeyedContainer() -> any UnkeyedEncodingContainer { element.unkeyedContainer() }

    func superEncoder() -> any Encoder { element }
}
