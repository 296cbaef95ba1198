// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

public import TorsionCore

/// The limits of a client for servers, and for itself: sizes and times, each with a limit from the
/// start.
///
///     var options = HTTPClientOptions()
///     options.headTimeout = .seconds(5)
///     let client = HTTPClient(on: reactor, options: options)
///
/// A plain value.
public struct HTTPClientOptions: Sendable {
    /// Whether the client goes where a server sends it.
    @nonexhaustive
    public enum Redirects: Hashable, Sendable {
        /// An answer with `Location` is an answer like any other.
        case deliver
        /// At most so many, one after the other: RFC 9110 §15.4.
        ///
        /// `Authorization`, `Proxy-Authorization`, `Cookie` and `Host` are not sent to another
        /// origin. A redirect from `https:` to `http:` is not followed.
        case follow(limit: Int)
    }

    /// How long making a connection may take, its name's resolution and TLS included: 10 s.
    public var connectTimeout: Duration = .seconds(10)

    /// How long a request may wait for a connection: 30 s.
    public var waitingTimeout: Duration = .seconds(30)

    /// How long a server may stall while a request is sent: 30 s.
    public var sendTimeout: Duration = .seconds(30)

    /// How long the whole head of an answer may take, from when the request has left: 30 s.
    public var headTimeout: Duration = .seconds(30)

    /// How long a body may stall while it is asked for: 30 s.
    public var bodyTimeout: Duration = .seconds(30)

    /// How long an idle connection is kept: 30 s, and a second less than its server says.
    public var idleTimeout: Duration = .seconds(30)

    /// The most connections to one origin at a time: 32.
    ///
    /// Further requests wait, first in, first out.
    public var connectionLimit = 32

    /// The most requests that wait for one origin: 10,000.
    ///
    /// Further ones fail.
    public var waitingLimit = 10_000

    /// The most bytes of an answer's head: 32 KiB, which is also the maximum.
    public var headLimitBytes = 32 * 1024

    /// The most fields of an answer's head: 100, at most 200.
    public var fieldLimit = 100

    /// The most bytes of an unread body that are read past to keep its connection: 64 KiB.
    ///
    /// Of a longer one the connection is closed.
    public var discardLimitBytes = 64 * 1024

    /// Whether the client goes where a server sends it: it does not.
    public var redirects = Redirects.deliver

    #if Zlib
    /// Whether the client asks for compressed bodies and takes the compression off: it does not.
    ///
    /// A request then says `Accept-Encoding: gzip, deflate`, unless it has such a field of its own,
    /// asks for a range or for a head. A body with one of these two codings is delivered without
    /// it: the answer has neither `Content-Encoding` nor `Content-Length` then. It decompresses
    /// only as much as you read: the limit that you give to `collect` bounds a body. One that is
    /// damaged or breaks off fails with ``ContentCodingError``.
    public var decompresses = false
    #else
    /// Decompression, which this build is without: turn the trait on.
    @available(
        *, unavailable,
        message: "depend on Torsion with the trait: .package(…, traits: [\"Zlib\"])"
    )
    public var decompresses: Bool {
        get { false }
        set {}
    }
    #endif

    /// Where a URL's server is, in place of its host and port: a UNIX socket, for one.
    ///
    /// Over it TLS is put for an `https:` URL all the same. Connections are shared by URLs of one origin.
    public var endpoint: (@Sendable (HTTPURL) -> any StreamClientEndpoint)?

    /// The defaults.
    public init() {}

    var isDecompressing: Bool {
        #if Zlib
        decompresses
        #else
        false
        #endif
    }

    var headLimits: HeadLimits {
        require(
            (64...32 * 1024).contains(headLimitBytes),
            "HTTPClientOptions: headLimitBytes is from 64 to 32768, not \(headLimitBytes)")
        require(
            (1...200).contains(fieldLimit),
            "HTTPClientOptions: fieldLimit is from 1 to 200, not \(fieldLimit)")
        var limits = HeadLimits()
        limits.byteCount = headLimitBytes
        limits.requestLineByteCount = min(8 * 1024, headLimitBytes)
        limits.fieldCount = fieldLimit
        return limits
    }

    var poolLimits: OriginPool.Limits {
        require(
            connectionLimit > 0,
            "HTTPClientOptions: connectionLimit is at least 1, not \(connectionLimit)")
        require(
            waitingLimit >= 0,
            "HTTPClientOptions: waitingLimit is not negative, as \(waitingLimit) is")
        var limits = OriginPool.Limits()
        limits.connections = connectionLimit
        limits.waitingRequests = waitingLimit
        limits.idleTime = idleTimeout
        limits.waitingTime = waitingTimeout
        return limits
    }

    /// No deadline that begins after a look at the clock is missed by the next one.
    var shortestTimeout: Duration { min(sendTimeout, headTimeout, bodyTimeout) }
}

/// Something of a request took longer than allowed: see ``HTTPClientOptions``.
public struct HTTPTimeout: Error, Hashable, Sendable, CustomStringConvertible {
    /// The step that took too long.
    @nonexhaustive
    public enum Step: Hashable, Sendable {
        /// Making a connection.
        case connecting
        /// Waiting for one, since as many as allowed are busy.
        case waiting
        /// Sending the request: the server stalls.
        case sending
        /// The head of the answer.
        case head
        /// The next byte of the answer's body.
        case body
    }

    /// The step that took too long.
    public let step: Step
    /// The time that was given.
    public let limit: Duration

    /// A sentence.
    public var description: String {
        switch step {
        case .connecting: "no connection was made within \(limit)"
        case .waiting: "no connection was free within \(limit)"
        case .sending: "the server took nothing of the request for \(limit)"
        case .head: "the server did not answer within \(limit)"
        case .body: "nothing of the answer's body came for \(limit)"
        }
    }
}

/// Why a request was not sent, or not further.
///
/// A later failure has its own error: `IOError`, `ConnectionLoss`, ``ResponseError``,
/// ``HTTPTimeout``, an error of TLS.
@nonexhaustive
public enum HTTPClientError: Error, Hashable, Sendable, CustomStringConvertible {
    /// The URL needs TLS, and the client was made without it.
    case needsSecurity(HTTPURL)
    /// The value of a field has a control character in it, or a `Host` is malformed.
    case badFieldValue(FieldName)
    /// A field says how the message is framed, which the client does.
    case reservedField(FieldName)
    /// More requests wait for the origin than allowed.
    case tooManyWaiting(limit: Int)
    /// The server sent the client on more often than allowed.
    case tooManyRedirects(limit: Int)
    /// The server sent the client where it does not go.
    case badRedirect(String)

    /// A sentence.
    public var description: String {
        switch self {
        case .needsSecurity(let url):
            "\(url) needs TLS: add the product TorsionTLS, import it, and make the client by "
                + "HTTPClient(on: reactor, security: .tls)"
        case .badFieldValue(let name): "the value of \(name) cannot be sent"
        case .reservedField(let name): "\(name) is the client's to write"
        case .tooManyWaiting(let limit): "\(limit) requests wait for the server already"
        case .tooManyRedirects(let limit): "the server sent the client on more than \(limit) times"
        case .badRedirect(let place):
            "the server sent the client to \"\(place)\", where it does not go"
        }
    }
}
