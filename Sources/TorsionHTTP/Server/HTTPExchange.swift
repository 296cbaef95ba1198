// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

public import TorsionCore

// The exchange holds its connection by a reference that it counts itself, and only if it outlives the
// call that brought it. A type that is to be discarded, so that its `deinit` does not run, may hold
// nothing that the compiler releases.

/// The right to answer one request, once.
///
/// Each way of answering consumes it. So the compiler refuses a second answer, and a missing one is
/// noticed: an exchange that is released gets a 500, and the mistake is reported. It belongs to its
/// reactor.
///
///     func requestReceived(_ head: borrowing RequestHead, _ exchange: consuming HTTPExchange) {
///         switch head.path {
///         case "/": exchange.respond(.ok, body: "at home")
///         case "/slow": exchange.respond(when: database.query().addCallback { row in
///             HTTPResponse(.ok, body: Bytes(row))
///         })
///         default: exchange.respond(.notFound)
///         }
///     }
///
/// When the client has gone, an answer is dropped.
public struct HTTPExchange: ~Copyable {
    private let reference: Unmanaged<HTTPConnection>
    private let number: UInt32

    /// Keeps its connection alive only when that says so: see ``HTTPConnection/takesBack(_:)``.
    @inline(__always)
    init(uncounted connection: HTTPConnection, _ number: UInt32) {
        unsafe reference = .passUnretained(connection)
        self.number = number
    }

    deinit {
        unsafe reference._withUnsafeGuaranteedRef { connection in
            let isCounted = connection.takesBack(number)
            connection.exchangeWasDropped(number)
            if isCounted { unsafe reference.release() }
        }
    }

    private var connection: HTTPConnection { unsafe reference.takeUnretainedValue() }

    /// Takes the right out of its holder, and uses it.
    @inline(__always)
    consuming func use<Result>(_ body: (HTTPConnection, UInt32) -> Result) -> Result {
        let (reference, number) = unsafe (reference, number)
        discard self
        return unsafe reference._withUnsafeGuaranteedRef { connection in
            let isCounted = connection.takesBack(number)
            let result = body(connection, number)
            if isCounted { unsafe reference.release() }
            return result
        }
    }

    // MARK: The request

    /// The reactor that the exchange belongs to.
    public var reactor: Reactor { connection.reactor }

    /// The client.
    public var peerAddress: SocketAddress { connection.peerAddress }

    /// The facts that the connection's filters learnt: how it is secured, for one.
    public var details: ConnectionDetails { connection.details }

    /// The body of the request; often empty.
    ///
    /// Reading begins when you ask for it. One that is never asked for is read past when the
    /// request is answered, or the connection is closed if it is long.
    public var body: HTTPBody { connection.requestBody(number) }

    /// Calls `body` if the client goes away before the answer is written: once, on the reactor.
    ///
    /// A client that only ends its direction has not gone.
    ///
    /// - Parameter body: For example, cancels what the answer waits for.
    public func whenGone(_ body: @escaping () -> Void) { connection.whenGone(number, body) }

    // MARK: The answer

    /// Answers, with a copy of some bytes for a body.
    ///
    /// `Content-Length`, `Date` and `Connection` are added. For a request or a status without a
    /// body, as with `HEAD`, 204 and 304, the bytes are not sent. A 2xx to `CONNECT` would promise
    /// a tunnel, which only ``upgrade(to:_:_:)`` makes: it becomes a 501. The answer leaves when
    /// the present event ends, with those to further requests that had come in the same read, in
    /// one write.
    ///
    /// - Parameters:
    ///   - status: How the request is answered: from 200 on, any other traps.
    ///   - fields: Added as they are.
    ///   - body: Borrowed for the call.
    /// - Complexity: O(*n*) in the number of bytes; a head and a body of some kilobytes need only
    ///   the allocations of the fields.
    @inline(__always)
    public consuming func respond(
        _ status: HTTPStatus, _ fields: FieldList = [:], body: RawSpan
    ) {
        use { $0.respond($1, status, fields, body, owner: nil) }
    }

    /// Answers, with bytes for a body, which are sent without a copy if they are many.
    ///
    /// - Parameters:
    ///   - status: How the request is answered: from 200 on, any other traps.
    ///   - fields: Added as they are.
    ///   - body: The body.
    public consuming func respond(
        _ status: HTTPStatus, _ fields: FieldList = [:], body: Bytes = Bytes()
    ) {
        use { $0.respond($1, status, fields, body.span, owner: body) }
    }

    /// Answers with a value.
    ///
    /// - Parameter response: The answer.
    public consuming func respond(_ response: HTTPResponse) {
        respond(response.status, response.fields, body: response.body)
    }

    /// Answers with whatever a source has: a file, what another connection brings.
    ///
    /// The source is not faster than the client. If it breaks, or has fewer or more bytes than were
    /// announced, the connection is aborted, so that the client does not take a part for the whole.
    ///
    /// - Parameters:
    ///   - status: How the request is answered: from 200 on, any other traps.
    ///   - fields: Added as they are.
    ///   - body: Asked for its bytes unless the answer is without a body, as with `HEAD`.
    ///   - byteCount: How many there are; `nil` sends them in chunks.
    public consuming func respond(
        _ status: HTTPStatus, _ fields: FieldList = [:], body: any ByteSource,
        byteCount: Int? = nil
    ) {
        use { $0.respond($1, status, fields, source: body, byteCount: byteCount) }
    }

    /// Answers when a Deferred has fired, with its result.
    ///
    /// If it fails, the answer is the thrown ``HTTPResponse``, 413 for a `ReadLimitExceeded`, else 500,
    /// and the error is reported. When the client goes away the Deferred is cancelled.
    ///
    /// - Parameter result: The answer to come.
    public consuming func respond(when result: Deferred<HTTPResponse>) {
        later().respond(when: result)
    }

    /// Begins an answer whose body comes piece by piece.
    ///
    /// - Parameters:
    ///   - status: How the request is answered: from 200 on, any other traps.
    ///   - fields: Added as they are.
    ///   - byteCount: How many bytes the body will have; `nil` sends them in chunks, or to the end of
    ///     the connection for a client of HTTP/1.0.
    /// - Returns: What takes the body; ``ResponseWriter/finish(trailers:)`` ends it.
    public consuming func begin(
        _ status: HTTPStatus, _ fields: FieldList = [:], byteCount: Int? = nil
    ) -> ResponseWriter {
        use { $0.begin($1, status, fields, byteCount: byteCount) }
    }

    /// Sends an interim answer, such as 103 with links to load early; it is left out for an
    /// HTTP/1.0 client.
    ///
    /// - Parameters:
    ///   - status: From 102 to 199; any other traps.
    ///   - fields: Added as they are.
    public func inform(_ status: HTTPStatus, _ fields: FieldList) {
        connection.inform(number, status, fields)
    }

    /// Answers with 101, and puts another protocol above the connection.
    ///
    /// It gets the bytes behind the request, in order, and HTTP ends on this connection. A request
    /// whose body was not read is answered with 400 instead. The client asks for it by `Upgrade`
    /// and `Connection: upgrade`; whether it did is yours to check.
    ///
    /// - Parameters:
    ///   - newProtocol: Takes over when the present event ends.
    ///   - status: 101, or 200 for `CONNECT`.
    ///   - fields: Added as they are; `Connection: Upgrade` is added to a 101.
    public consuming func upgrade(
        to newProtocol: any StreamProtocol, _ status: HTTPStatus = .switchingProtocols,
        _ fields: FieldList = [:]
    ) {
        use { $0.upgrade($1, to: newProtocol, status, fields) }
    }

    /// The same right as an object, for an answer that comes later: a closure that escapes can hold it.
    ///
    /// - Returns: An object with the same verbs.
    public consuming func later() -> PendingExchange {
        use { PendingExchange($0, $1) }
    }
}

/// An error that tells how a connection ended which was upgraded: no mistake of the program's.
package protocol PeerFailure: Error {}

/// The right to answer one request later: see ``HTTPExchange/later()``.
///
/// Answering twice traps. If it is released before it has answered, the client gets a 500, and the
/// mistake is reported. It belongs to its reactor.
public final class PendingExchange {
    private let connection: HTTPConnection
    private let number: UInt32
    private var hasAnswered = false

    init(_ connection: HTTPConnection, _ number: UInt32) {
        self.connection = connection
        self.number = number
    }

    deinit { if !hasAnswered { connection.exchangeWasDropped(number) } }

    /// The task that was to answer has ended.
    func taskEnded(because error: (any Error)?) {
        if error is CancellationError, !connection.isAwaiting(number) { return }
        guard let error else {
            if !hasAnswered { connection.respond(number, failure: AnswerError.dropped) }
            return hasAnswered = true
        }
        // Of a connection that speaks something else by now, its loss is no mistake of the task's.
        if hasAnswered, connection.hasUpgraded,
            error is ConnectionLoss || error is ShutdownRequested || error is ReactorStopped
                || error is any PeerFailure
        {
            return
        }
        hasAnswered = true
        connection.responderFailed(number, error)
    }

    private func use() {
        require(
            !hasAnswered, "PendingExchange: this request was answered before; each is answered once"
        )
        hasAnswered = true
    }

    /// Whether the client is still there to get an answer.
    public var isOpen: Bool { !hasAnswered && connection.isAwaiting(number) }

    /// The reactor that the exchange belongs to.
    public var reactor: Reactor { connection.reactor }

    /// The body of the request; often empty.
    public var body: HTTPBody { connection.requestBody(number) }

    /// Calls `body` if the client goes away before the answer is written: once, on the reactor.
    ///
    /// - Parameter body: For example, cancels what the answer waits for.
    public func whenGone(_ body: @escaping () -> Void) { connection.whenGone(number, body) }

    /// Answers; see ``HTTPExchange/respond(_:_:body:)-(_,_,Bytes)``.
    ///
    /// - Parameters:
    ///   - status: How the request is answered: from 200 on, any other traps.
    ///   - fields: Added as they are.
    ///   - body: The body.
    public func respond(_ status: HTTPStatus, _ fields: FieldList = [:], body: Bytes = Bytes()) {
        use()
        connection.respond(number, status, fields, body.span, owner: body)
    }

    /// Answers with a value.
    ///
    /// - Parameter response: The answer.
    public func respond(_ response: HTTPResponse) {
        respond(response.status, response.fields, body: response.body)
    }

    /// Answers with whatever a source has; see ``HTTPExchange/respond(_:_:body:byteCount:)``.
    ///
    /// - Parameters:
    ///   - status: How the request is answered: from 200 on, any other traps.
    ///   - fields: Added as they are.
    ///   - body: Asked for its bytes unless the answer is without a body.
    ///   - byteCount: How many there are; `nil` sends them in chunks.
    public func respond(
        _ status: HTTPStatus, _ fields: FieldList = [:], body: any ByteSource,
        byteCount: Int? = nil
    ) {
        use()
        connection.respond(number, status, fields, source: body, byteCount: byteCount)
    }

    /// Answers when a Deferred has fired; see ``HTTPExchange/respond(when:)``.
    ///
    /// - Parameter result: The answer to come.
    public func respond(when result: Deferred<HTTPResponse>) {
        use()
        let (connection, number) = (connection, number)
        connection.whenGone(number) { result.cancel() }
        result.addCallback { connection.respond(number, $0) }
            .whenFailed { connection.respond(number, failure: $0) }
    }

    /// Begins an answer whose body comes piece by piece; see ``HTTPExchange/begin(_:_:byteCount:)``.
    ///
    /// - Parameters:
    ///   - status: How the request is answered: from 200 on, any other traps.
    ///   - fields: Added as they are.
    ///   - byteCount: How many bytes the body will have; `nil` sends them in chunks.
    /// - Returns: What takes the body.
    public func begin(
        _ status: HTTPStatus, _ fields: FieldList = [:], byteCount: Int? = nil
    ) -> ResponseWriter {
        use()
        return connection.begin(number, status, fields, byteCount: byteCount)
    }

    /// Sends an interim answer; see ``HTTPExchange/inform(_:_:)``.
    ///
    /// - Parameters:
    ///   - status: From 102 to 199; any other traps.
    ///   - fields: Added as they are.
    public func inform(_ status: HTTPStatus, _ fields: FieldList) {
        connection.inform(number, status, fields)
    }

    /// Puts another protocol above the connection; see ``HTTPExchange/upgrade(to:_:_:)``.
    ///
    /// - Parameters:
    ///   - newProtocol: Takes over when the present event ends.
    ///   - status: 101, or 200 for `CONNECT`.
    ///   - fields: Added as they are.
    public func upgrade(
        to newProtocol: any StreamProtocol, _ status: HTTPStatus = .switchingProtocols,
        _ fields: FieldList = [:]
    ) {
        use()
        connection.upgrade(number, to: newProtocol, status, fields)
    }
}
