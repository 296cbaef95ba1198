// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

#if HTTPTypes

public import HTTPTypes
internal import TorsionCore
public import TorsionHTTP

extension HTTPFields {
    /// Makes a copy of a list of fields, in its order.
    ///
    /// - Parameter list: The fields of a message, or those that will be sent.
    /// - Complexity: O(*n*) in the bytes of the fields; allocates for each of them.
    public init(_ list: FieldList) {
        self.init()
        for field in list {
            append(HTTPField(String(decoding: field.name.bytes), field.value.span))
        }
    }
}

extension FieldList {
    /// Makes a copy of fields, in their order.
    ///
    /// Pseudo fields, whose names begin with a colon, are left out: HTTP/1.1 does not have them.
    ///
    /// - Parameter fields: The fields of a message; a name of more than 255 bytes traps.
    public init(_ fields: HTTPFields) {
        self.init()
        for field in fields where field.name.rawName.first != ":" {
            guard let name = FieldName(field.name.rawName) else {
                mistake("FieldList: a field's name has at most 255 bytes, not \(field.name)")
            }
            append(name, field.withUnsafeBytesOfValue { Bytes(UnsafeRawBufferPointer($0).bytes) })
        }
    }

    /// Removes the fields that say how the message is framed, which the connection does.
    ///
    /// - Returns: The length that they announced; `nil` if they announced none.
    mutating func removeFraming() -> Int? {
        let length = self[.contentLength].flatMap { Int(String(decoding: $0)) }
        self[.contentLength] = nil
        self[.transferEncoding] = nil
        return length.flatMap { $0 >= 0 ? $0 : nil }
    }
}

extension HTTPField {
    /// A field of a message that was parsed, so that its name is a token.
    init(_ name: String, _ value: RawSpan) {
        // Both sides take the same tokens for names: RFC 9110 §5.1.
        self.init(name: Name(name)!, value: [UInt8](value))
    }
}

extension HTTPStatus {
    /// Makes a status; the reason phrase is dropped, as RFC 9110 §15.1 allows.
    ///
    /// - Parameter status: Its code is from 100 to 599; any other traps.
    public init(_ status: HTTPTypes.HTTPResponse.Status) { self.init(status.code) }
}

extension HTTPTypes.HTTPResponse.Status {
    /// Makes a status of the same code, with its usual reason phrase.
    ///
    /// - Parameter status: Any.
    public init(_ status: HTTPStatus) { self.init(code: status.code) }
}

extension HTTPMethod {
    /// Makes a method of the same token.
    ///
    /// - Parameter method: Has at most 32 bytes; a longer one traps.
    public init(_ method: HTTPTypes.HTTPRequest.Method) {
        guard let same = HTTPMethod(method.rawValue) else {
            mistake("HTTPMethod: a method has at most 32 bytes, not \(method)")
        }
        self = same
    }
}

extension HTTPTypes.HTTPRequest.Method {
    /// Makes a method of the same token.
    ///
    /// - Parameter method: Any.
    public init(_ method: HTTPMethod) {
        // Both sides take the same tokens for methods: RFC 9110 §9.1.
        self = Self("\(method)")!
    }
}

#endif
