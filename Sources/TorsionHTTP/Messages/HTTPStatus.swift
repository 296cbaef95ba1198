// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

public import TorsionCore

/// How a request was answered: RFC 9110 §15.
///
///     exchange.respond(.notFound)
///
/// A plain value, usable on any thread.
public struct HTTPStatus: Hashable, Sendable {
    /// The number, from 100 to 599.
    public let code: Int

    /// Makes a status of a number.
    ///
    /// - Parameter code: From 100 to 599; any other traps.
    @inlinable
    public init(_ code: Int) {
        require(
            code >= 100 && code <= 599, "HTTPStatus: a code is from 100 to 599, not \(code)")
        self.code = code
    }

    @inlinable
    init(unchecked code: Int) { self.code = code }

    /// Whether an answer of this status never has a body: RFC 9110 §6.4.1.
    @inlinable
    public var isWithoutBody: Bool { code < 200 || code == 204 || code == 304 }

    /// Whether it announces a later answer to the same request.
    @inlinable
    public var isInterim: Bool { code < 200 && code != 101 }

    /// The first line of an answer, with its end.
    var line: StaticString? {
        switch code {
        case 100: "HTTP/1.1 100 Continue\r\n"
        case 101: "HTTP/1.1 101 Switching Protocols\r\n"
        case 103: "HTTP/1.1 103 Early Hints\r\n"
        case 200: "HTTP/1.1 200 OK\r\n"
        case 201: "HTTP/1.1 201 Created\r\n"
        case 202: "HTTP/1.1 202 Accepted\r\n"
        case 204: "HTTP/1.1 204 No Content\r\n"
        case 205: "HTTP/1.1 205 Reset Content\r\n"
        case 206: "HTTP/1.1 206 Partial Content\r\n"
        case 301: "HTTP/1.1 301 Moved Permanently\r\n"
        case 302: "HTTP/1.1 302 Found\r\n"
        case 303: "HTTP/1.1 303 See Other\r\n"
        case 304: "HTTP/1.1 304 Not Modified\r\n"
        case 307: "HTTP/1.1 307 Temporary Redirect\r\n"
        case 308: "HTTP/1.1 308 Permanent Redirect\r\n"
        case 400: "HTTP/1.1 400 Bad Request\r\n"
        case 401: "HTTP/1.1 401 Unauthorized\r\n"
        case 403: "HTTP/1.1 403 Forbidden\r\n"
        case 404: "HTTP/1.1 404 Not Found\r\n"
        case 405: "HTTP/1.1 405 Method Not Allowed\r\n"
        case 406: "HTTP/1.1 406 Not Acceptable\r\n"
        case 408: "HTTP/1.1 408 Request Timeout\r\n"
        case 409: "HTTP/1.1 409 Conflict\r\n"
        case 410: "HTTP/1.1 410 Gone\r\n"
        case 411: "HTTP/1.1 411 Length Required\r\n"
        case 412: "HTTP/1.1 412 Precondition Failed\r\n"
        case 413: "HTTP/1.1 413 Content Too Large\r\n"
        case 414: "HTTP/1.1 414 URI Too Long\r\n"
        case 415: "HTTP/1.1 415 Unsupported Media Type\r\n"
        case 416: "HTTP/1.1 416 Range Not Satisfiable\r\n"
        case 417: "HTTP/1.1 417 Expectation Failed\r\n"
        case 421: "HTTP/1.1 421 Misdirected Request\r\n"
        case 422: "HTTP/1.1 422 Unprocessable Content\r\n"
        case 426: "HTTP/1.1 426 Upgrade Required\r\n"
        case 428: "HTTP/1.1 428 Precondition Required\r\n"
        case 429: "HTTP/1.1 429 Too Many Requests\r\n"
        case 431: "HTTP/1.1 431 Request Header Fields Too Large\r\n"
        case 500: "HTTP/1.1 500 Internal Server Error\r\n"
        case 501: "HTTP/1.1 501 Not Implemented\r\n"
        case 502: "HTTP/1.1 502 Bad Gateway\r\n"
        case 503: "HTTP/1.1 503 Service Unavailable\r\n"
        case 504: "HTTP/1.1 504 Gateway Timeout\r\n"
        case 505: "HTTP/1.1 505 HTTP Version Not Supported\r\n"
        default: nil
        }
    }
}

extension HTTPStatus: CustomStringConvertible {
    /// The number, and its name if it has one: "404 Not Found".
    public var description: String {
        guard let line else { return "\(code)" }
        return String("\(line)".dropFirst("HTTP/1.1 ".count).dropLast())
    }
}

extension HTTPStatus {
    /// 100 Continue.
    @inlinable public static var `continue`: HTTPStatus { HTTPStatus(unchecked: 100) }
    /// 101 Switching Protocols.
    @inlinable public static var switchingProtocols: HTTPStatus { HTTPStatus(unchecked: 101) }
    /// 103 Early Hints.
    @inlinable public static var earlyHints: HTTPStatus { HTTPStatus(unchecked: 103) }
    /// 200 OK.
    @inlinable public static var ok: HTTPStatus { HTTPStatus(unchecked: 200) }
    /// 201 Created.
    @inlinable public static var created: HTTPStatus { HTTPStatus(unchecked: 201) }
    /// 202 Accepted.
    @inlinable public static var accepted: HTTPStatus { HTTPStatus(unchecked: 202) }
    /// 204 No Content.
    @inlinable public static var noContent: HTTPStatus { HTTPStatus(unchecked: 204) }
    /// 205 Reset Content, whose body is empty.
    @inlinable public static var resetContent: HTTPStatus { HTTPStatus(unchecked: 205) }
    /// 206 Partial Content.
    @inlinable public static var partialContent: HTTPStatus { HTTPStatus(unchecked: 206) }
    /// 301 Moved Permanently.
    @inlinable public static var movedPermanently: HTTPStatus { HTTPStatus(unchecked: 301) }
    /// 302 Found.
    @inlinable public static var found: HTTPStatus { HTTPStatus(unchecked: 302) }
    /// 303 See Other.
    @inlinable public static var seeOther: HTTPStatus { HTTPStatus(unchecked: 303) }
    /// 304 Not Modified.
    @inlinable public static var notModified: HTTPStatus { HTTPStatus(unchecked: 304) }
    /// 307 Temporary Redirect.
    @inlinable public static var temporaryRedirect: HTTPStatus { HTTPStatus(unchecked: 307) }
    /// 308 Permanent Redirect.
    @inlinable public static var permanentRedirect: HTTPStatus { HTTPStatus(unchecked: 308) }
    /// 400 Bad Request.
    @inlinable public static var badRequest: HTTPStatus { HTTPStatus(unchecked: 400) }
    /// 401 Unauthorized.
    @inlinable public static var unauthorized: HTTPStatus { HTTPStatus(unchecked: 401) }
    /// 403 Forbidden.
    @inlinable public static var forbidden: HTTPStatus { HTTPStatus(unchecked: 403) }
    /// 404 Not Found.
    @inlinable public static var notFound: HTTPStatus { HTTPStatus(unchecked: 404) }
    /// 405 Method Not Allowed.
    @inlinable public static var methodNotAllowed: HTTPStatus { HTTPStatus(unchecked: 405) }
    /// 406 Not Acceptable.
    @inlinable public static var notAcceptable: HTTPStatus { HTTPStatus(unchecked: 406) }
    /// 408 Request Timeout.
    @inlinable public static var requestTimeout: HTTPStatus { HTTPStatus(unchecked: 408) }
    /// 409 Conflict.
    @inlinable public static var conflict: HTTPStatus { HTTPStatus(unchecked: 409) }
    /// 410 Gone.
    @inlinable public static var gone: HTTPStatus { HTTPStatus(unchecked: 410) }
    /// 411 Length Required.
    @inlinable public static var lengthRequired: HTTPStatus { HTTPStatus(unchecked: 411) }
    /// 412 Precondition Failed.
    @inlinable public static var preconditionFailed: HTTPStatus { HTTPStatus(unchecked: 412) }
    /// 413 Content Too Large.
    @inlinable public static var contentTooLarge: HTTPStatus { HTTPStatus(unchecked: 413) }
    /// 414 URI Too Long.
    @inlinable public static var uriTooLong: HTTPStatus { HTTPStatus(unchecked: 414) }
    /// 415 Unsupported Media Type.
    @inlinable public static var unsupportedMediaType: HTTPStatus { HTTPStatus(unchecked: 415) }
    /// 416 Range Not Satisfiable.
    @inlinable public static var rangeNotSatisfiable: HTTPStatus { HTTPStatus(unchecked: 416) }
    /// 417 Expectation Failed.
    @inlinable public static var expectationFailed: HTTPStatus { HTTPStatus(unchecked: 417) }
    /// 421 Misdirected Request.
    @inlinable public static var misdirectedRequest: HTTPStatus { HTTPStatus(unchecked: 421) }
    /// 422 Unprocessable Content.
    @inlinable public static var unprocessableContent: HTTPStatus { HTTPStatus(unchecked: 422) }
    /// 426 Upgrade Required.
    @inlinable public static var upgradeRequired: HTTPStatus { HTTPStatus(unchecked: 426) }
    /// 428 Precondition Required.
    @inlinable public static var preconditionRequired: HTTPStatus { HTTPStatus(unchecked: 428) }
    /// 429 Too Many Requests.
    @inlinable public static var tooManyRequests: HTTPStatus { HTTPStatus(unchecked: 429) }
    /// 431 Request Header Fields Too Large.
    @inlinable public static var requestHeaderFieldsTooLarge: HTTPStatus {
        HTTPStatus(unchecked: 431)
    }
    /// 500 Internal Server Error.
    @inlinable public static var internalServerError: HTTPStatus { HTTPStatus(unchecked: 500) }
    /// 501 Not Implemented.
    @inlinable public static var notImplemented: HTTPStatus { HTTPStatus(unchecked: 501) }
    /// 502 Bad Gateway.
    @inlinable public static var badGateway: HTTPStatus { HTTPStatus(unchecked: 502) }
    /// 503 Service Unavailable.
    @inlinable public static var serviceUnavailable: HTTPStatus { HTTPStatus(unchecked: 503) }
    /// 504 Gateway Timeout.
    @inlinable public static var gatewayTimeout: HTTPStatus { HTTPStatus(unchecked: 504) }
    /// 505 HTTP Version Not Supported.
    @inlinable public static var httpVersionNotSupported: HTTPStatus { HTTPStatus(unchecked: 505) }
}
