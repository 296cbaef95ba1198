// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

internal import TorsionCore

/// How the body of an answer is compressed: RFC 9110 §8.4.1.
@nonexhaustive
public enum ContentCoding: Hashable, Sendable, CustomStringConvertible {
    /// That of RFC 1952.
    case gzip
    /// That of RFC 1950, which HTTP calls so; bare RFC 1951 is refused.
    case deflate

    /// The codings that a client that decompresses accepts.
    static let accepted: Bytes = "gzip, deflate"

    var form: DeflateForm { self == .gzip ? .gzip : .zlib }

    /// The coding of an answer.
    ///
    /// - Returns: `nil` if there are several, another one, or zero.
    init?(_ fields: FieldList) {
        let values = fields.all(.contentEncoding)
        guard values.count == 1, let value = values.first else { return nil }
        if value.equalsIgnoringCase("gzip") || value.equalsIgnoringCase("x-gzip") {
            self = .gzip
        } else if value.equalsIgnoringCase("deflate") {
            self = .deflate
        } else {
            return nil
        }
    }

    /// As `Content-Encoding` has it.
    public var description: String { self == .gzip ? "gzip" : "deflate" }
}

/// Why the body of an answer could not be decompressed.
@nonexhaustive
public enum ContentCodingError: Error, Hashable, Sendable, CustomStringConvertible {
    /// It is not what the answer says that it is, or its checksum is wrong.
    case malformed(ContentCoding)
    /// It ends before what was compressed does.
    case truncated(ContentCoding)
    /// Memory for decompression is short.
    case noMemory

    /// A sentence.
    public var description: String {
        switch self {
        case .malformed(let coding): "the body is no \(coding), or was damaged"
        case .truncated(let coding): "the body ended before its \(coding) did"
        case .noMemory: "there is no memory to decompress the body with"
        }
    }
}
