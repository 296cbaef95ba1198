// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

public import TorsionCore

/// A program's side of the requests of one connection.
///
///     final class Hello: HTTPResponder {
///         func requestReceived(
///             _ head: borrowing RequestHead, _ exchange: consuming HTTPExchange
///         ) throws {
///             exchange.respond(.ok, [.contentType: "text/plain"], body: "Hello, World!")
///         }
///     }
///     try ServerEndpoint(parsing: "tcp:8080").listen(on: reactor, http: HTTPServerOptions()) { Hello() }
///
/// One request at a time: the next one is delivered when the answer to this one is written, so that
/// answers have the order of their requests by construction.
public protocol HTTPResponder: AnyObject {
    /// A request's head has arrived; its body is still to come, see ``HTTPExchange/body``.
    ///
    /// Called on the reactor. The exchange is answered here, or turned into something that is answered
    /// later: ``HTTPExchange/later()``, ``HTTPExchange/respond(when:)``. If it is dropped, the client
    /// is answered with 500, and the mistake reported to the reactor's `unhandledError`.
    ///
    /// - Parameters:
    ///   - head: The request; borrowed, so that what is kept has to be copied.
    ///   - exchange: The right to answer, once.
    /// - Throws: An ``HTTPResponse`` is sent as it is. Any other error becomes a 500, or the end of
    ///   the connection if the answer had begun, and is reported to the reactor's `unhandledError`.
    func requestReceived(
        _ head: borrowing RequestHead, _ exchange: consuming HTTPExchange) throws

    /// The connection has ended, and with it its requests. The default is empty.
    func connectionLost()
}

extension HTTPResponder {
    /// The empty default.
    public func connectionLost() {}
}

/// A thrown answer is the answer.
extension HTTPResponse: Error {}

/// A mistake in how a program answers; reported to the reactor's `unhandledError`.
@nonexhaustive
public enum AnswerError: Error, Hashable, Sendable, CustomStringConvertible {
    /// A request was not answered: its exchange was released.
    case dropped
    /// A field's value has a control character in it, such as CR or LF.
    case badFieldValue(FieldName)
    /// A field says how the message is framed, which the server does.
    case reservedField(FieldName)
    /// A body became longer than it was announced.
    case bodyTooLong(announced: Int)
    /// A body ended before as many bytes came as were announced.
    case bodyTooShort(announced: Int, written: Int)
    /// A body was not finished: its writer was released.
    case unfinished

    /// A sentence.
    public var description: String {
        switch self {
        case .dropped: "a request was not answered; it got a 500"
        case .badFieldValue(let name): "the value of \(name) has a control character; it got a 500"
        case .reservedField(let name): "\(name) is the server's to write; it got a 500"
        case .bodyTooLong(let count): "a body is longer than the \(count) bytes announced"
        case .bodyTooShort(let announced, let written):
            "a body ended after \(written) of \(announced) bytes"
        case .unfinished: "the writer of a body was released before finish()"
        }
    }
}

/// A body broke off.
public struct BodyTruncated: Error, Hashable, Sendable, CustomStringConvertible {
    /// Bytes of it that had come.
    public let byteCount: Int

    /// A sentence.
    public var description: String { "the body broke off after \(byteCount) bytes" }
}

/// Makes a responder for each connection.
final class HTTPServerFactory: StreamProtocolFactory {
    private let options: SharedServerOptions
    private let make: () throws -> (any HTTPResponder)?

    init(_ options: HTTPServerOptions, _ make: @escaping () throws -> (any HTTPResponder)?) {
        self.options = SharedServerOptions(options)
        self.make = make
    }

    func makeProtocol(for peer: SocketAddress) throws -> (any StreamProtocol)? {
        guard let responder = try make() else { return nil }
        return HTTPConnection(responder, options)
    }
}

/// What all connections of a port share.
final class SharedServerOptions {
    let value: HTTPServerOptions
    let headLimits: HeadLimits

    init(_ value: HTTPServerOptions) {
        self.value = value
        headLimits = value.headLimits
    }
}

extension StreamServerEndpoint {
    /// Listens for HTTP/1.1, and makes a responder for each connection.
    ///
    /// - Parameters:
    ///   - reactor: Where the port and its connections belong.
    ///   - options: The limits of clients.
    ///   - makeResponder: Called for each connection; `nil` closes it. A responder without state of its
    ///     connection's may be one for all.
    /// - Returns: The port, which accepts from now on.
    /// - Throws: `IOError` that names the place and the cause.
    @discardableResult
    public func listen(
        on reactor: Reactor, http options: HTTPServerOptions,
        _ makeResponder: @escaping () throws -> (any HTTPResponder)?
    ) throws(IOError) -> ListeningPort {
        try listen(on: reactor, factory: HTTPServerFactory(options, makeResponder))
    }
}

/// The protocol that serves HTTP/1.1 on one connection, for a stream without an endpoint.
///
///     let client = MemoryTransport(serveHTTP(Hello()))
///     client.receive("GET / HTTP/1.1\r\nHost: a\r\n\r\n")
///
/// - Parameters:
///   - responder: Answers its requests.
///   - options: The limits of the client.
/// - Returns: A protocol for one connection.
public func serveHTTP(
    _ responder: any HTTPResponder, options: HTTPServerOptions = HTTPServerOptions()
) -> any StreamProtocol {
    HTTPConnection(responder, SharedServerOptions(options))
}
