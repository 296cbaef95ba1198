// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

/// An error in a request that a client has sent.
///
/// The client is answered with ``status``, and its connection closed: where the next request would
/// begin is not known. A plain value.
@nonexhaustive
public enum RequestError: UInt8, Error, Hashable, Sendable {
    /// The method is not a token, or has more than 32 bytes: RFC 9110 §9.1.
    case badMethod = 1
    /// The target is not in a form of RFC 9112 §3.2 that its method has.
    case badTarget
    /// The line does not end in a version: RFC 9112 §2.3.
    case badVersion
    /// The version is neither 1.0 nor 1.1.
    case unsupportedVersion
    /// The request line is longer than allowed.
    case requestLineTooLong
    /// A field's name is not a token, has white space behind it, or more than 255 bytes: RFC 9112
    /// §5.1.
    case badFieldName
    /// A field's value has a control character: RFC 9110 §5.5.
    case badFieldValue
    /// A line goes on with the former one's field: RFC 9112 §5.2.
    case foldedField
    /// A CR without an LF: RFC 9112 §2.2.
    case bareCarriageReturn
    /// An LF without a CR, with which others see the line's end elsewhere: RFC 9112 §2.2.
    case bareLineFeed
    /// More fields than allowed.
    case tooManyFields
    /// The head is longer than allowed.
    case headTooLong
    /// The length is not a number of digits, or comes twice: RFC 9112 §6.3.
    case badContentLength
    /// The coding is not `chunked`, or comes in HTTP/1.0: RFC 9112 §6.1.
    case badTransferEncoding
    /// Both a length and a coding, with which two readers see two bodies: RFC 9112 §6.3.
    case contentLengthWithTransferEncoding
    /// `Host` is missing in HTTP/1.1: RFC 9112 §3.2.
    case missingHost
    /// More than one `Host`: RFC 9112 §3.2.
    case manyHosts
    /// The host is malformed: RFC 9110 §7.2.
    case badHost
    /// Something other than `100-continue` is expected: RFC 9110 §10.1.1.
    case unknownExpectation
    /// A chunk's size is not a number of at most 16 hexadecimal digits: RFC 9112 §7.1.
    case badChunkSize
    /// A chunk's extension is malformed: RFC 9112 §7.1.1.
    case badChunkExtension
    /// The extensions of a body's chunks are longer than allowed.
    case chunkExtensionsTooLong
    /// Something other than CR LF stands behind a chunk: RFC 9112 §7.1.
    case badChunkEnd
    /// A trailer says how the message is framed or where it goes: RFC 9110 §6.5.1.
    case forbiddenTrailer
    /// The trailers are longer than allowed.
    case trailersTooLong

    /// How the client is answered.
    public var status: HTTPStatus {
        switch self {
        case .unsupportedVersion: .httpVersionNotSupported
        case .requestLineTooLong: .uriTooLong
        case .tooManyFields, .headTooLong, .trailersTooLong: .requestHeaderFieldsTooLarge
        case .unknownExpectation: .expectationFailed
        case .badMethod, .badTarget, .badVersion, .badFieldName, .badFieldValue, .foldedField,
            .bareCarriageReturn, .bareLineFeed, .badContentLength, .badTransferEncoding,
            .contentLengthWithTransferEncoding, .missingHost, .manyHosts, .badHost,
            .badChunkSize, .badChunkExtension, .chunkExtensionsTooLong, .badChunkEnd,
            .forbiddenTrailer:
            .badRequest
        }
    }
}
