// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

internal import TorsionCore

/// Answers each request by asking another server: a gateway, RFC 9110 §3.7.
///
///     let origin = try HTTPURL(parsing: "http://127.0.0.1:9000")
///     let proxy = ReverseProxy(to: origin, by: HTTPClient(on: reactor))
///     try ServerEndpoint(parsing: "tcp:8080").listen(on: reactor, http: HTTPServerOptions()) { proxy }
///
/// One for all connections. Method, target, `Host`, fields and body go to the origin, its answer
/// comes back, interim ones too. Fields that concern one connection stay on it: those that RFC 9110
/// §7.6.1 names, and those that `Connection` names. How a body is framed is decided anew on either
/// side, and `Via` says that a gateway was passed. Bodies stream both ways, as fast as the reader
/// takes them, without being stored. A request for another protocol, such as a WebSocket's, is
/// passed on, and if the origin agrees both connections are joined, also while the reactor stops,
/// until its time is up; `h2c`, HTTP/2 in the clear, is not passed on.
///
/// A client is answered 502 if the origin cannot be reached, breaks off or sends a malformed
/// answer, 504 if it takes too long, 503 if too many requests wait for it. If the answer had begun,
/// its connection is aborted, so that a part is not taken for the whole. A client that goes away
/// ends its request to the origin. It belongs to the reactor of its client.
public final class ReverseProxy: HTTPResponder {
    private let origin: HTTPURL
    private let client: HTTPClient
    /// The values of `Via` for a message of HTTP/1.0, and of 1.1.
    private let via: (Bytes, Bytes)

    /// Whether the origin learns the client's address, by `X-Forwarded-For` and
    /// `X-Forwarded-Proto`; what the client said of these is dropped then.
    public var tellsClient = false

    /// Called on the reactor for each request that the origin did not answer, or not to its end.
    ///
    /// A client that goes, or breaks its own body off, does not count.
    public var whenFailed: ((any Error) -> Void)?

    /// Makes a gateway to one server.
    ///
    /// - Parameters:
    ///   - origin: Whose scheme, host and port are used; what is asked for is the client's affair.
    ///   - client: Asks it; its options say how many connections it may make, and how long things
    ///     take. It must not follow redirects: that is up to the gateway's client.
    ///   - name: The gateway's name in `Via`: a token.
    public init(to origin: HTTPURL, by client: HTTPClient, name: String = "torsion") {
        require(
            client.options.redirects == .deliver,
            "ReverseProxy: its client follows redirects, which the browser is to follow")
        require(
            !client.options.isDecompressing,
            "ReverseProxy: its client decompresses bodies, which the browser is to do")
        let bytes = Bytes(name)
        require(
            FieldNameTable.shared.isToken(bytes.span),
            "ReverseProxy: \"\(name)\" is no token, as Via needs")
        self.origin = origin
        self.client = client
        via = ("1.0 " + bytes, "1.1 " + bytes)
    }

    /// Asks the origin.
    ///
    /// - Parameters:
    ///   - head: The client's request; borrowed until the call returns.
    ///   - exchange: Answered with what the origin answers, or with 502, 503 or 504.
    public func requestReceived(
        _ head: borrowing RequestHead, _ exchange: consuming HTTPExchange
    ) {
        guard head.method != .connect, let target = Self.target(of: head) else {
            return exchange.respond(.notImplemented)
        }
        var request = ClientRequest(origin.asking(for: target), method: head.method)
        request.fields = passedOn(head.fieldList, minorVersion: head.minorVersion)
        guard Self.countsHop(head.method, &request.fields) else {
            // It is meant for this gateway, which knows one of the two methods.
            return exchange.respond(head.method == .options ? .noContent : .notImplemented)
        }
        request.fields[.host] = head.copiedAuthority
        if tellsClient { tell(of: exchange.peerAddress, exchange.details, in: &request.fields) }
        var body: HTTPBody?
        if head.hasBody {
            let source = exchange.body
            request.body = .source(source, byteCount: head.contentLength)
            body = source
        } else if head.facts.flags.contains(.upgrade), head.minorVersion == 1 {
            request.upgrade = head.copiedValue(.upgrade).flatMap(Self.passedOnUpgrade)
        }
        forward(request, body, exchange.later())
    }

    private func forward(
        _ request: ClientRequest, _ body: HTTPBody?, _ exchange: PendingExchange
    ) {
        var request = request
        request.informed = { [self] head in
            guard head.status.code > 101 else { return }
            exchange.inform(head.status, passedOn(head.fields, minorVersion: head.minorVersion))
        }
        let isHead = request.method == .head
        let answer = client.send(request)
        exchange.whenGone { answer.cancel() }
        answer
            .addCallback { [self] response in
                passBack(response, exchange, isHead: isHead)
            }
            .whenFailed { [self] error in
                guard !(error is CancellationError) else { return }
                // That the client broke its body off says nothing of the origin.
                if body?.failure != nil { return exchange.respond(.badRequest) }
                exchange.respond(Self.status(for: error))
                whenFailed?(error)
            }
    }

    private func passBack(
        _ response: ClientResponse, _ exchange: PendingExchange, isHead: Bool
    ) {
        var fields = passedOn(response.fields, minorVersion: response.head.minorVersion)
        if response.isUpgraded {
            fields[.upgrade] = response.fields[.upgrade]
            guard exchange.isOpen else { return }
            let farEnd = FarEnd()
            response.upgrade(to: farEnd)
            return exchange.upgrade(
                to: StreamProxy(joining: farEnd, on: client.reactor), response.status, fields)
        }
        if let whole = response.body.takeWhole() {
            return exchange.respond(response.status, fields, body: whole)
        }
        var byteCount = response.contentLength
        if isHead { byteCount = response.fields[.contentLength].flatMap { Int(decimal: $0.span) } }
        let writer = exchange.begin(response.status, fields, byteCount: byteCount)
        guard !writer.isOmitted else { return writer.finishOmitted() }
        // What breaks it aborts the client's connection: that is not a mistake of this program.
        writer.isQuiet = true
        response.body.pipe(to: writer).whenFailed { [self] error in
            // That the client has gone is its own affair.
            if !(error is PipeBroken), !(error is CancellationError) { whenFailed?(error) }
        }
    }

    /// A protocol that a client may be joined to the origin by; `nil` for HTTP/2 in the clear.
    ///
    /// Its requests would pass unseen by whatever stands in front of the origin.
    private static func passedOnUpgrade(_ value: Bytes) -> Bytes? {
        let names = value.split(separator: UInt8(ascii: ","))
        let isHTTP = names.contains { $0.span.trimmed.startsIgnoringCase(with: "h2c") }
        return isHTTP ? nil : value
    }

    /// How a client is answered whose request failed.
    private static func status(for error: any Error) -> HTTPStatus {
        switch error {
        case let error as HTTPTimeout:
            error.step == .waiting ? .serviceUnavailable : .gatewayTimeout
        case HTTPClientError.tooManyWaiting: .serviceUnavailable
        case let error as IOError where error.code == .timedOut: .gatewayTimeout
        case ConnectionLoss.deadlinePassed: .gatewayTimeout
        default: .badGateway
        }
    }

    /// Path and query, or the asterisk of `OPTIONS`; `nil` if there is none.
    private static func target(of head: borrowing RequestHead) -> Bytes? {
        let target = head.target
        if target[0] == UInt8(ascii: "/") || target == "*" { return Bytes(target) }
        // An absolute target may have no path (RFC 9112 §3.2.2).
        let path = head.path
        let start: Bytes = path.isEmpty ? "/" : Bytes(path)
        guard let query = head.query else {
            // Of a server as a whole is asked so, too: RFC 9112 §3.2.4.
            return path.isEmpty && head.method == .options ? "*" : start
        }
        return start + "?" + Bytes(query)
    }

    // MARK: Fields

    /// Those that go on: RFC 9110 §7.6.1, with `Via` (§7.6.3).
    private func passedOn(_ fields: FieldList, minorVersion: Int) -> FieldList {
        var passed = FieldList()
        // Room for `Via`, `Host` and what tells of the client.
        passed.pairs.reserveCapacity(fields.count + 4)
        let named = Self.named(fields)
        for (name, value) in fields.pairs where !Self.isOfConnection(name) {
            if !named.isEmpty {
                let bytes = name.bytes
                let isNamed = named.contains { $0.span.trimmed.equalsIgnoringCase(bytes.span) }
                if isNamed { continue }
            }
            passed.pairs.append((name, value))
        }
        passed.append(.via, minorVersion == 1 ? via.1 : via.0)
        return passed
    }

    /// The names in `Connection`, but for those that never go on.
    private static func named(_ fields: FieldList) -> [Bytes] {
        var named: [Bytes] = []
        for (name, value) in fields.pairs where name.number == FieldName.connection.number {
            // Nearly always one of the two.
            if value.span.equalsIgnoringCase("keep-alive") || value.span.equalsIgnoringCase("close")
            {
                continue
            }
            named += value.split(separator: UInt8(ascii: ","))
        }
        return named
    }

    /// Whether a field concerns one connection, or says how a message is framed.
    ///
    /// `Expect` is the server's to meet, which asks for the body when it is read.
    private static func isOfConnection(_ name: FieldName) -> Bool {
        switch name.number {
        // `Content-Length` to `Trailer`, whose places are fixed.
        case 2...8: true
        case FieldName.keepAlive.number, FieldName.proxyConnection.number: true
        default: false
        }
    }

    /// Counts down how far a request may go, which says so if it asks about its way: RFC 9110 §7.6.2.
    ///
    /// - Returns: Whether it goes on.
    private static func countsHop(_ method: HTTPMethod, _ fields: inout FieldList) -> Bool {
        guard method == .options || method == .trace, let value = fields[.maxForwards],
            let count = Int(decimal: value.span)
        else { return true }
        guard count > 0 else { return false }
        fields[.maxForwards] = Bytes("\(count - 1)")
        return true
    }

    private func tell(
        of client: SocketAddress, _ details: ConnectionDetails, in fields: inout FieldList
    ) {
        fields[.xForwardedFor] = client.host.map { Bytes($0) }
        fields[.xForwardedProto] = details.security == nil ? "http" : "https"
    }
}
