// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

extension StreamServerEndpoint {
    /// Listens, and serves each connection by a task, until the calling task is cancelled, the port
    /// closes or the reactor stops.
    ///
    ///     try await endpoint.serve(on: reactor) { connection in
    ///         for try await bytes in connection.inbound { try await connection.write(bytes) }
    ///     }
    ///
    /// The end of a task closes its connection. An error that it throws aborts its connection and
    /// is reported to ``Reactor/unhandledError``, unless it is the loss of a connection, its
    /// ``UnexpectedEnd`` or a cancellation.
    ///
    /// At the end of serving the port closes at once, connections are drained: reading throws
    /// ``ShutdownRequested``, and what was written, or is written then, still leaves. A task that
    /// lets the error pass closes its connection like any other. Tasks that have not ended after
    /// `gracePeriod` are cancelled and their connections aborted.
    ///
    /// - Parameters:
    ///   - reactor: The calling task's.
    ///   - gracePeriod: How long draining may take.
    ///   - whenListening: Called with the port, when clients can connect.
    ///   - file: The place that ``Reactor/inspect()`` names for each task.
    ///   - line: The place that ``Reactor/inspect()`` names for each task.
    ///   - handle: Serves one connection; may capture what belongs to the reactor.
    /// - Throws: ``IOError`` if the port cannot be opened. Cancellation is not an error: the server
    ///   did as it was told.
    public nonisolated(nonsending) func serve(
        on reactor: Reactor, gracePeriod: Duration = .seconds(10),
        whenListening: (ListeningPort) -> Void = { _ in },
        file: StaticString = #fileID, line: UInt = #line,
        _ handle: nonisolated(nonsending) @escaping (AsyncConnection) async throws -> Void
    ) async throws {
        reactor.requireTasksRun(in: #isolation, "serve")
        let server = AsyncServer(on: reactor, file: file, line: line, handle: handle)
        let port = try listen(on: reactor, factory: server)
        whenListening(port)
        await server.waitForEnd()
        port.stopListening()
        await server.drain(within: gracePeriod)
    }

    /// Listens, and gives the connections as a sequence.
    ///
    ///     let listener = try endpoint.listen(on: reactor)
    ///     for try await connection in listener { … }
    ///
    /// - Parameter reactor: Where the port and its connections belong; call this on its thread.
    /// - Returns: The connections, in the order in which they were accepted.
    /// - Throws: ``IOError`` that names the place and the cause.
    public func listen(on reactor: Reactor) throws(IOError) -> AsyncListener {
        let listener = AsyncListener(on: reactor)
        listener.port = try listen(on: reactor, factory: listener.factory)
        return listener
    }
}

/// The connections of one ``StreamServerEndpoint/serve(on:gracePeriod:whenListening:file:line:_:)``.
private final class AsyncServer: StreamProtocolFactory {
    private let reactor: Reactor
    private let handle: nonisolated(nonsending) (AsyncConnection) async throws -> Void
    private let file: StaticString
    private let line: UInt
    private var served: [ConnectionID: Served] = [:]
    private var isOver = false
    private var waiter: WaitKey?

    private struct Served {
        let mailbox: ConnectionMailbox
        let task: Deferred<Void>
    }

    init(
        on reactor: Reactor, file: StaticString, line: UInt,
        handle: nonisolated(nonsending) @escaping (AsyncConnection) async throws -> Void
    ) {
        self.reactor = reactor
        self.file = file
        self.line = line
        self.handle = handle
    }

    func makeProtocol(for peer: SocketAddress) throws -> (any StreamProtocol)? {
        ConnectionMailbox { [unowned self] in serve($0) }
    }

    func stopped(on port: ListeningPort) {
        isOver = true
        wake()
    }

    private func serve(_ mailbox: ConnectionMailbox) {
        let connection = AsyncConnection(mailbox)
        let id = connection.id
        let task = reactor.spawn(file: file, line: line) { [self, handle] in
            do { try await handle(connection) } catch { failed(connection, error) }
            connection.close()
            served[id] = nil
            if served.isEmpty { wake() }
        }
        served[id] = Served(mailbox: mailbox, task: task)
    }

    private func failed(_ connection: AsyncConnection, _ error: any Error) {
        if error is ShutdownRequested { return }
        connection.mailbox.abort(because: error)
        switch error {
        case is ConnectionLoss, is CancellationError, is ReactorStopped, is UnexpectedEnd: break
        default:
            reactor.counters.protocolFailures += 1
            reactor.report(
                error, in: "serving \(connection.peerAddress)", place: "\(file):\(line)",
                connection: connection.id)
        }
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
        // A reactor that stops asks each connection itself, behind what has arrived.
        if !reactor.isStopping { for one in inOrder { one.mailbox.requestShutdown() } }
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
    private var inOrder: [Served] {
        served.sorted { $0.key.sequence < $1.key.sequence }.map(\.value)
    }

    private func cancelAll() {
        for one in inOrder {
            one.task.cancel()
            one.mailbox.transport.abortConnection()
        }
    }
}

/// A port whose connections are taken by a task, one by one.
///
/// Accepting pauses while 16 connections wait to be taken; further clients wait in the kernel's
/// queue. The port closes by ``close()``, when the last reference goes, or with the reactor; then
/// the sequence ends, behind the connections that were accepted.
public final class AsyncListener: AsyncSequence {
    /// A connection that was accepted.
    public typealias Element = AsyncConnection

    private let reactor: Reactor
    fileprivate let factory: Queue
    fileprivate(set) var port: ListeningPort!

    fileprivate init(on reactor: Reactor) {
        self.reactor = reactor
        factory = Queue(on: reactor)
    }

    deinit { port?.stopListening() }

    /// Where it listens, with the port that the kernel chose.
    public var localAddress: SocketAddress { port.localAddress }

    /// Closes the port; connections that were taken stay.
    public func close() { port.stopListening() }

    /// Takes connections from now on.
    public func makeAsyncIterator() -> Iterator { Iterator(listener: self) }

    /// Takes a connection when it is asked.
    public struct Iterator: AsyncIteratorProtocol {
        fileprivate let listener: AsyncListener

        /// Waits for the next connection; nil when the port has closed.
        public mutating func next() async throws -> AsyncConnection? {
            try await listener.factory.next()
        }

        /// Waits for the next connection; nil when the port has closed.
        ///
        /// - Parameter actor: The caller's; leave it out.
        /// - Returns: The next client; nil when the port has closed.
        /// - Throws: `CancellationError` when the task is cancelled.
        public mutating func next(
            isolation actor: isolated (any Actor)?
        ) async throws(any Error) -> AsyncConnection? {
            try await listener.factory.next()
        }
    }

    /// The connections that nobody has taken yet.
    fileprivate final class Queue: StreamProtocolFactory {
        private static let limit = 16

        private let reactor: Reactor
        private var waiting: [AsyncConnection] = []
        private var isOver = false
        private var taker: WaitKey?
        private var port: ListeningPort?

        init(on reactor: Reactor) { self.reactor = reactor }

        func makeProtocol(for peer: SocketAddress) throws -> (any StreamProtocol)? {
            ConnectionMailbox { [unowned self] in add(AsyncConnection($0)) }
        }

        func started(on port: ListeningPort) { self.port = port }

        func stopped(on port: ListeningPort) {
            isOver = true
            self.port = nil
            if let taker { reactor.resume(taker) }
        }

        private func add(_ connection: AsyncConnection) {
            waiting.append(connection)
            if waiting.count >= Self.limit { port?.holdClients() }
            if let taker { reactor.resume(taker) }
        }

        nonisolated(nonsending) func next() async throws -> AsyncConnection? {
            reactor.checkThread()
            defer { taker = nil }
            while waiting.isEmpty {
                if isOver { return nil }
                require(
                    taker == nil,
                    "AsyncListener: two tasks take connections at the same time; let one take them")
                try await reactor.suspend { taker = $0 }
                taker = nil
            }
            if waiting.count == Self.limit { port?.releaseClients() }
            return waiting.removeFirst()
        }
    }
}
