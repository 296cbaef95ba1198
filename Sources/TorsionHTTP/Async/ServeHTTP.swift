// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

public import TorsionCore

extension StreamServerEndpoint {
    /// Serves HTTP/1.1, each connection by a task, until the calling task is cancelled, the port closes
    /// or the reactor stops.
    ///
    ///     try await endpoint.serveHTTP(on: reactor) { request, answer in
    ///         switch request.path {
    ///         case "/": try await answer.respond(.ok, body: "hello")
    ///         default: try await answer.respond(.notFound)
    ///         }
    ///     }
    ///
    /// `handle` is called for one request of a connection at a time. An error that it throws
    /// becomes a 500 and is reported to the reactor's `unhandledError`; a thrown ``HTTPResponse``
    /// is the answer. The end of a connection cancels its task.
    ///
    /// At the end of serving the port closes at once, and connections are drained: requests in hand are
    /// answered, with `Connection: close`. Tasks that have not ended after `gracePeriod` are cancelled
    /// and their connections aborted.
    ///
    /// - Parameters:
    ///   - reactor: The calling task's.
    ///   - options: The limits of clients.
    ///   - gracePeriod: How long draining may take.
    ///   - whenListening: Is called with the port, when clients can connect.
    ///   - file: The place that `Reactor.inspect()` names for each task.
    ///   - line: The place that `Reactor.inspect()` names for each task.
    ///   - handle: Answers one request; may capture what belongs to the reactor.
    /// - Throws: `IOError` if the port cannot be opened. Cancellation is not an error.
    public nonisolated(nonsending) func serveHTTP(
        on reactor: Reactor, options: HTTPServerOptions = HTTPServerOptions(),
        gracePeriod: Duration = .seconds(10), whenListening: (ListeningPort) -> Void = { _ in },
        file: StaticString = #fileID, line: UInt = #line,
        _ handle:
            nonisolated(nonsending) @escaping (
                _ request: HTTPRequest, _ answer: AsyncExchange
            ) async throws -> Void
    ) async throws {
        reactor.requireTasksRun(in: #isolation, "serveHTTP")
        let server = AsyncHTTPServer(on: reactor, options, file: file, line: line, handle)
        let port = try listen(on: reactor, factory: server)
        whenListening(port)
        await server.waitForEnd()
        port.stopListening()
        await server.drain(within: gracePeriod)
    }
}

/// A request for async code: its head as a value, and its body.
public struct HTTPRequest {
    /// The head, a copy.
    public let head: CopiedRequestHead
    /// The body, whose pieces are an asynchronous sequence; often empty.
    public let body: HTTPBody
    /// The client.
    public let peerAddress: SocketAddress

    /// The method.
    public var method: HTTPMethod { head.method }
    /// The request's target, as it was sent.
    public var target: Bytes { head.target }
    /// The target without its query, and without scheme and host.
    public var path: Bytes { head.path }
    /// The part behind the target's question mark, if there is one.
    public var query: Bytes? { head.query }
    /// The fields, in order.
    public var fields: FieldList { head.fields }
}

/// The right to answer one request, for async code.
///
/// Answering twice traps; a request whose task ends without an answer gets a 500. Writing waits while
/// the client does not take what is queued.
public final class AsyncExchange {
    private let pending: PendingExchange
    private var writer: AsyncResponseWriter?

    init(_ pending: PendingExchange) { self.pending = pending }

    /// The same right for code with callbacks.
    public var exchange: PendingExchange { pending }

    /// Answers, and waits while more than the high mark is queued.
    ///
    /// - Parameters:
    ///   - status: How the request is answered.
    ///   - fields: Added as they are.
    ///   - body: The body.
    /// - Throws: `CancellationError` if the client has gone.
    public nonisolated(nonsending) func respond(
        _ status: HTTPStatus, _ fields: FieldList = [:], body: Bytes = Bytes()
    ) async throws {
        let writer =
            body.count > AsyncResponseWriter.unheededByteCount
            ? begin(status, fields, byteCount: body.count) : nil
        guard let writer else { return pending.respond(status, fields, body: body) }
        try await writer.write(body)
        writer.finish()
    }

    /// Answers with whatever a source has; see ``HTTPExchange/respond(_:_:body:byteCount:)``.
    ///
    /// - Parameters:
    ///   - status: How the request is answered.
    ///   - fields: Added as they are.
    ///   - source: Asked for its bytes unless the answer is without a body.
    ///   - byteCount: How many bytes there are; `nil` sends them in chunks.
    public func respond(
        _ status: HTTPStatus, _ fields: FieldList = [:], body source: any ByteSource,
        byteCount: Int? = nil
    ) {
        pending.respond(status, fields, body: source, byteCount: byteCount)
    }

    /// Begins an answer whose body comes piece by piece.
    ///
    /// - Parameters:
    ///   - status: How the request is answered.
    ///   - fields: Added as they are.
    ///   - byteCount: How many bytes the body will have; `nil` sends them in chunks.
    /// - Returns: What takes the body.
    public func begin(
        _ status: HTTPStatus, _ fields: FieldList = [:], byteCount: Int? = nil
    ) -> AsyncResponseWriter {
        let writer = AsyncResponseWriter(
            pending.begin(status, fields, byteCount: byteCount), pending)
        self.writer = writer
        return writer
    }

    /// The task has ended: what is not finished is over.
    func end(because error: (any Error)?) { pending.taskEnded(because: error) }
}

/// Takes the body of an answer from async code.
public final class AsyncResponseWriter: PushProducer {
    /// Below this much nothing waits for room.
    static let unheededByteCount = 32 * 1024

    private let writer: ResponseWriter
    private let reactor: Reactor
    private var isPaused = false
    private var isGone = false
    private var room: Deferred<Void>?

    init(_ writer: ResponseWriter, _ pending: PendingExchange) {
        self.writer = writer
        reactor = pending.reactor
        writer.registerProducer(self)
    }

    /// Writes a piece, and waits while more than the high mark is queued.
    ///
    /// - Parameter bytes: The piece; in chunks, it is one.
    /// - Throws: `CancellationError` if the client has gone.
    public nonisolated(nonsending) func write(_ bytes: Bytes) async throws {
        if isGone { throw CancellationError() }
        writer.write(bytes)
        guard isPaused else { return }
        let room = Deferred<Void>(on: reactor)
        self.room = room
        try await room.value
    }

    /// The body is whole.
    ///
    /// - Parameter trailers: Sent behind a body in chunks.
    public func finish(trailers: FieldList = [:]) {
        guard !isGone else { return }
        isGone = true
        writer.unregisterProducer()
        writer.finish(trailers: trailers)
    }

    /// Called by the transport.
    public func pauseProducing() { isPaused = true }

    /// Called by the transport.
    public func resumeProducing() {
        isPaused = false
        let waiting = room.take()
        waiting?.succeed(())
    }

    /// Called by the transport: the client has gone.
    public func stopProducing() {
        isGone = true
        let waiting = room.take()
        waiting?.fail(CancellationError())
    }
}

/// The connections of one `serveHTTP`.
private final class AsyncHTTPServer: StreamProtocolFactory {
    typealias Handle =
        nonisolated(nonsending) (_ request: HTTPRequest, _ answer: AsyncExchange) async throws ->
        Void

    let reactor: Reactor
    let handle: Handle
    private let options: SharedServerOptions
    fileprivate let file: StaticString
    fileprivate let line: UInt
    private var served: [Int: Served] = [:]
    private var madeCount = 0
    private var isOver = false
    private var waiter: WaitKey?

    private struct Served {
        let responder: TaskResponder
        let connection: HTTPConnection
    }

    init(
        on reactor: Reactor, _ options: HTTPServerOptions, file: StaticString, line: UInt,
        _ handle: @escaping Handle
    ) {
        self.file = file
        self.line = line
        self.reactor = reactor
        self.handle = handle
        self.options = SharedServerOptions(options)
    }

    func makeProtocol(for peer: SocketAddress) throws -> (any StreamProtocol)? {
        madeCount += 1
        let responder = TaskResponder(self, number: madeCount)
        let connection = HTTPConnection(responder, options)
        served[madeCount] = Served(responder: responder, connection: connection)
        return connection
    }

    func stopped(on port: ListeningPort) {
        isOver = true
        wake()
    }

    /// The connection is lost, and its task has ended.
    func ended(_ number: Int) {
        served[number] = nil
        if served.isEmpty { wake() }
    }

    private func wake() {
        if let waiter { reactor.resume(waiter) }
    }

    /// Waits until the port closes, or the task is cancelled or the reactor stops.
    nonisolated(nonsending) func waitForEnd() async {
        while !isOver {
            do { try await reactor.suspend { waiter = $0 } } catch { isOver = true }
        }
    }

    /// Ends the connections, and waits for their tasks, though the calling task be cancelled.
    nonisolated(nonsending) func drain(within gracePeriod: Duration) async {
        if !reactor.isStopping {
            for one in inOrder {
                one.connection.endWasRequested()
                one.responder.endUpgraded()
            }
        }
        let limit = reactor.callLater(gracePeriod) { [unowned self] in cancelAll() }
        defer { limit.cancel() }
        while !served.isEmpty {
            do {
                try await reactor.suspend(shielded: true) { waiter = $0 }
            } catch {
                // The reactor has ended, and its tasks with it.
                return
            }
        }
    }

    /// As they were made, so that a run can be repeated.
    private var inOrder: [Served] { served.sorted { $0.key < $1.key }.map(\.value) }

    private func cancelAll() {
        for one in inOrder {
            one.responder.cancel()
            one.connection.transport?.abortConnection()
            one.responder.abortUpgraded()
        }
    }
}

/// Hands the requests of one connection to a task, one by one.
final class TaskResponder: HTTPResponder {
    private let server: AsyncHTTPServer
    private let number: Int
    /// What the connection speaks by now, for the task that has the last request.
    private var successor: (proto: any StreamProtocol, transport: any StreamTransport)?
    private var task: Deferred<Void>?
    private var request: (HTTPRequest, AsyncExchange)?
    private var waiter: WaitKey?
    private var isLost = false

    fileprivate init(_ server: AsyncHTTPServer, number: Int) {
        self.server = server
        self.number = number
    }

    func requestReceived(_ head: borrowing RequestHead, _ exchange: consuming HTTPExchange) {
        let copied = head.copied()
        let peerAddress = exchange.peerAddress
        let body = exchange.body
        let answer = AsyncExchange(exchange.later())
        request = (HTTPRequest(head: copied, body: body, peerAddress: peerAddress), answer)
        if task == nil {
            task = server.reactor.spawn(file: server.file, line: server.line) { [self] in
                await run()
            }
        } else if let waiter {
            server.reactor.resume(waiter)
        }
    }

    private nonisolated(nonsending) func run() async {
        while let (request, answer) = await next() {
            do {
                try await server.handle(request, answer)
                answer.end(because: nil)
            } catch {
                answer.end(because: error)
            }
        }
        if isLost { server.ended(number) }
    }

    private nonisolated(nonsending) func next() async -> (HTTPRequest, AsyncExchange)? {
        while request == nil, !isLost {
            do { try await server.reactor.suspend { waiter = $0 } } catch { return nil }
        }
        return request.take()
    }

    func connectionLost() {
        isLost = true
        guard task != nil else { return server.ended(number) }
        cancel()
        // A task that has ended, by being cancelled, does not say so any more.
        if !(task?.isPending ?? false) { server.ended(number) }
    }

    func cancel() { task?.cancel() }

    /// Another protocol takes over: no further request comes, and the task goes on.
    func upgraded(to proto: any StreamProtocol, on transport: any StreamTransport) {
        isLost = true
        successor = (proto, transport)
    }

    /// The server ends: the other protocol is asked to.
    func endUpgraded() { successor.map { $0.proto.shutdownRequested($0.transport) } }

    func abortUpgraded() { successor?.transport.abortConnection() }
}
