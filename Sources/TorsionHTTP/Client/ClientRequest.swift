// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

public import TorsionCore

/// A request, about to be sent: see ``HTTPClient/send(_:)``.
///
///     var request = ClientRequest(try HTTPURL(parsing: "http://127.0.0.1:8080/"), method: .put)
///     request.body = .source(FileProducer(path: path, on: reactor), byteCount: size)
///
/// Its fields are sent as they are; `Host`, `Content-Length` and `Transfer-Encoding` are added.
public struct ClientRequest {
    /// The body of a request.
    @nonexhaustive
    public enum Body {
        /// An empty body.
        case none
        /// These bytes.
        case bytes(Bytes)
        /// Everything that a source has, as fast as the server takes it: a file, `SequenceSource`
        /// for async code, another message's body. In chunks if its length is not known.
        ///
        /// A source that breaks, or has fewer or more bytes than announced, aborts the connection.
        case source(any ByteSource, byteCount: Int? = nil)
    }

    /// Where it goes.
    public var url: HTTPURL
    /// The method.
    public var method: HTTPMethod
    /// Its fields.
    public var fields: FieldList
    /// Its body.
    public var body: Body
    /// Called for each interim answer, such as 103, on the reactor; at most 16 times.
    public var informed: ((ResponseHead) -> Void)?
    /// The protocol that the server is asked to change to, as the value of `Upgrade`.
    var upgrade: Bytes?

    /// Makes a request.
    ///
    /// - Parameters:
    ///   - url: Where it goes.
    ///   - method: For example `.get`.
    ///   - fields: Its fields.
    ///   - body: Its body.
    public init(
        _ url: HTTPURL, method: HTTPMethod = .get, fields: FieldList = [:], body: Body = .none
    ) {
        self.url = url
        self.method = method
        self.fields = fields
        self.body = body
    }

    /// Whether sending it twice does what sending it once does, and is possible.
    var mayRepeat: Bool {
        if case .source = body { return false }
        return method.isIdempotent && upgrade == nil
    }
}

/// The answer to a request: its head has come, its body is still to be read.
///
///     client.get("http://127.0.0.1:8080/").addCallback { response in
///         response.body.collect(limitBytes: 1 << 20)
///     }
///
/// An answer that is released with its body unread frees its connection: a short body is read past, with
/// a longer one the connection is closed. It belongs to its reactor.
public final class ClientResponse {
    /// The head.
    public let head: ResponseHead
    /// Where it came from: another place than was asked if a redirect was followed.
    public let url: HTTPURL
    /// How many bytes of body were announced; `nil` if their number is not known.
    public let contentLength: Int?
    /// The body, with its coding taken off; often empty.
    public let body: HTTPBody
    /// What has the connection of an answer that changed the protocol.
    private var connection: ClientConnection?

    init(
        _ head: ResponseHead, _ url: HTTPURL, contentLength: Int?, _ body: HTTPBody,
        upgraded connection: ClientConnection? = nil
    ) {
        self.head = head
        self.url = url
        self.contentLength = contentLength
        self.body = body
        self.connection = connection
    }

    deinit { connection?.giveUp() }

    /// How the request was answered.
    public var status: HTTPStatus { head.status }

    /// The fields of the answer.
    public var fields: FieldList { head.fields }

    /// Whether the server has changed to another protocol.
    var isUpgraded: Bool { connection != nil }

    /// Puts another protocol above the connection, once; it gets what has come behind the answer.
    func upgrade(to newProtocol: any StreamProtocol) {
        let connection = connection.take()
        connection?.upgrade(to: newProtocol)
    }
}

extension HTTPMethod {
    /// Whether sending a request twice does what sending it once does: RFC 9110 §9.2.2.
    public var isIdempotent: Bool {
        switch self {
        case .get, .head, .put, .delete, .options, .trace: true
        default: false
        }
    }
}

extension HTTPURL {
    /// The same server's, with another target.
    func asking(for target: Bytes) -> HTTPURL { HTTPURL(scheme, host, port, target) }
}
