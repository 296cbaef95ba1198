// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

public import TorsionCore

/// The method of a request: RFC 9110 §9.
///
///     switch head.method {
///     case .get, .head: show()
///     default: exchange.respond(.methodNotAllowed, [.allow: "GET, HEAD"])
///     }
///
/// The case of the letters matters. A plain value, usable on any thread.
public struct HTTPMethod: Hashable, Sendable {
    /// 1 to 9 for those of the specifications, 0 for any other.
    @usableFromInline let number: UInt8
    @usableFromInline let other: Bytes

    @inlinable
    init(number: UInt8) {
        self.number = number
        other = Bytes()
    }

    /// Of bytes that are a token.
    init(number: UInt8, token: RawSpan) {
        self.number = number
        other = number == 0 ? Bytes(token) : Bytes()
    }

    /// Makes a method of a text; `nil` if it is not a token.
    ///
    /// - Parameter text: A token of at most 32 bytes.
    public init?(_ text: String) {
        let bytes = Bytes(text)
        guard bytes.count <= HeadParser.longestMethodByteCount,
            FieldNameTable.shared.isToken(bytes.span)
        else { return nil }
        self.init(number: Self.number(of: bytes.span), token: bytes.span)
    }

    private static let texts: [StaticString] = [
        "", "GET", "HEAD", "POST", "PUT", "DELETE", "CONNECT", "OPTIONS", "TRACE", "PATCH",
    ]

    static func number(of bytes: RawSpan) -> UInt8 {
        for number in 1..<texts.count where bytes == Bytes(stringLiteral: texts[number]).span {
            return UInt8(number)
        }
        return 0
    }

    /// The bytes of the method, as they are sent.
    public var bytes: Bytes { number == 0 ? other : Bytes(stringLiteral: Self.texts[Int(number)]) }

    /// `GET`: RFC 9110 §9.3.1.
    @inlinable public static var get: HTTPMethod { HTTPMethod(number: 1) }
    /// `HEAD`, a `GET` whose answer is without a body: §9.3.2.
    @inlinable public static var head: HTTPMethod { HTTPMethod(number: 2) }
    /// `POST`: §9.3.3.
    @inlinable public static var post: HTTPMethod { HTTPMethod(number: 3) }
    /// `PUT`: §9.3.4.
    @inlinable public static var put: HTTPMethod { HTTPMethod(number: 4) }
    /// `DELETE`: §9.3.5.
    @inlinable public static var delete: HTTPMethod { HTTPMethod(number: 5) }
    /// `CONNECT`, a tunnel: §9.3.6.
    @inlinable public static var connect: HTTPMethod { HTTPMethod(number: 6) }
    /// `OPTIONS`: §9.3.7.
    @inlinable public static var options: HTTPMethod { HTTPMethod(number: 7) }
    /// `TRACE`: §9.3.8.
    @inlinable public static var trace: HTTPMethod { HTTPMethod(number: 8) }
    /// `PATCH`: RFC 5789.
    @inlinable public static var patch: HTTPMethod { HTTPMethod(number: 9) }
}

extension HTTPMethod: CustomStringConvertible {
    /// The method as it is sent.
    public var description: String { String(decoding: bytes.span) }
}
