// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

public import TorsionCore

/// The name of a field, such as `Content-Type`.
///
/// The usual names are members; any other is made of its text. Names are equal whatever the case of
/// their letters (RFC 9110 §5.1). A plain value, usable on any thread.
///
///     let fields: FieldList = [.contentType: "text/html", "X-Colour": "green"]
///
/// - Complexity: A usual name is stored as a number, without memory of its own.
public struct FieldName: Sendable {
    /// Its place among the usual names; 0 for any other.
    @usableFromInline let number: UInt8
    /// The text of any other name.
    @usableFromInline let other: Bytes

    @inlinable
    init(number: UInt8) {
        self.number = number
        other = Bytes()
    }

    /// A token that is none of the usual names.
    init(other: Bytes) {
        number = 0
        self.other = other
    }

    /// A name of a text that is known to be a token.
    init(token: RawSpan) {
        let number = FieldNameTable.shared.number(of: token)
        self.number = number
        other = number == 0 ? Bytes(token) : Bytes()
    }

    /// Makes a name of a text; `nil` if it is not a token, or has more than 255 bytes.
    ///
    /// - Parameter text: A token: letters, digits and `!#$%&'*+-.^_|~` or a backtick (RFC 9110 §5.6.2).
    public init?(_ text: String) {
        var text = text
        text.makeContiguousUTF8()
        let bytes = text.utf8Span.span.bytes
        guard bytes.byteCount <= 255, FieldNameTable.shared.isToken(bytes) else { return nil }
        self.init(token: bytes)
    }

    /// The bytes of the name, as they are sent.
    public var bytes: Bytes {
        number == 0 ? other : Bytes(stringLiteral: Self.spellings[Int(number)])
    }
}

extension FieldName: Hashable {
    /// Whether two names are the same, the letters A to Z being the same as a to z.
    ///
    /// - Parameters:
    ///   - left: A name.
    ///   - right: Another name.
    /// - Returns: Whether they name the same field.
    public static func == (left: FieldName, right: FieldName) -> Bool {
        left.number == right.number
            && (left.number != 0 || left.other.span.equalsIgnoringCase(right.other.span))
    }

    /// Feeds the name to a hasher.
    ///
    /// - Parameter hasher: Fed with the name in lower case.
    public func hash(into hasher: inout Hasher) {
        hasher.combine(number)
        for byte in other { hasher.combine(byte.asciiLowercased) }
    }
}

extension FieldName: ExpressibleByStringLiteral {
    /// Makes a name of a literal, which must be a token; any other traps.
    ///
    /// - Parameter value: A token of RFC 9110 §5.6.2.
    public init(stringLiteral value: String) {
        guard let name = FieldName(value) else {
            mistake("FieldName: \"\(value)\" is no token of 1 to 255 bytes")
        }
        self = name
    }
}

extension FieldName: CustomStringConvertible {
    /// The name as it is sent.
    public var description: String { String(decoding: bytes.span) }
}
