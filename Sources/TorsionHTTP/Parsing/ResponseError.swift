// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

/// An error in an answer that a server has sent.
///
/// Its connection is closed, since where the next answer would begin is not known. A plain value.
@nonexhaustive
public enum ResponseError: UInt8, Error, Hashable, Sendable {
    // Up to `trailersTooLong` the numbers are those of `RequestError`, as the parser of heads and that
    // of chunks, which both kinds of message share, throw them.

    /// The reason phrase has a control character: RFC 9112 §4.
    case badReason = 1
    /// The status is not a number from 100 to 599: RFC 9110 §15.
    case badStatus
    /// The first line does not begin with a version: RFC 9112 §2.3.
    case badVersion
    /// The version is neither 1.0 nor 1.1.
    case unsupportedVersion
    /// The first line is longer than allowed.
    case statusLineTooLong
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
    /// A chunk's size is not a number of at most 16 hexadecimal digits: RFC 9112 §7.1.
    case badChunkSize = 20
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

    /// The connection ended before the whole answer had come: RFC 9112 §8.
    case truncated = 101
    /// More than 16 interim answers came before the answer.
    case tooManyInterimAnswers
    /// The server changed to another protocol, and was not asked to: RFC 9110 §15.2.2.
    case unexpectedUpgrade
    /// Bytes came outside of an answer: RFC 9112 §9.2.
    case unexpectedBytes

    init(_ error: RequestError) {
        // The numbers are the same; one that no answer can have would be a mistake of the parser.
        self = ResponseError(rawValue: error.rawValue) ?? .badVersion
    }
}

extension ResponseError: CustomStringConvertible {
    /// A sentence.
    public var description: String { "the server's answer is malformed: \(cause)" }

    private var cause: String {
        switch self {
        case .badReason: "its reason phrase has a control character"
        case .badStatus: "its status is no number from 100 to 599"
        case .badVersion: "it begins with no version of HTTP"
        case .unsupportedVersion: "its version is not HTTP/1"
        case .statusLineTooLong: "its first line is too long"
        case .badFieldName: "a field has no proper name"
        case .badFieldValue: "a field's value has a control character"
        case .foldedField: "a field goes on in a second line"
        case .bareCarriageReturn: "a CR comes without an LF"
        case .bareLineFeed: "an LF comes without a CR"
        case .tooManyFields: "it has too many fields"
        case .headTooLong: "its head is too long"
        case .badContentLength: "Content-Length is no number, or comes twice"
        case .badTransferEncoding: "Transfer-Encoding is not chunked alone"
        case .contentLengthWithTransferEncoding: "it has Content-Length and Transfer-Encoding"
        case .badChunkSize: "a chunk's size is no number"
        case .badChunkExtension: "a chunk's extension is none"
        case .chunkExtensionsTooLong: "the extensions of its chunks are too long"
        case .badChunkEnd: "a chunk is longer than its size"
        case .forbiddenTrailer: "a trailer says how it is framed"
        case .trailersTooLong: "its trailers are too long"
        case .truncated: "it broke off"
        case .tooManyInterimAnswers: "more than 16 interim answers came before it"
        case .unexpectedUpgrade: "it changes to another protocol, unasked"
        case .unexpectedBytes: "bytes came that belong to no answer"
        }
    }
}
