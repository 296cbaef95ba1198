// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

public import TorsionCore

/// Brings a body: the connection of either side.
protocol BodyCarrier: AnyObject {
    var reactor: Reactor { get }
    /// Somebody asks for the body, for the first time or again.
    func bodyWasAskedFor()
    /// Reading has stopped, or something else has happened by which what is held may be used.
    func continueInput()
    /// Nobody has the body any more.
    func bodyWasDropped()
}

/// The body of a request or of an answer, which is read when you ask for it.
///
///     exchange.body.collect(limitBytes: 64 * 1024)                     // all of it
///     exchange.body.pipe(to: FileConsumer(path: path, on: reactor))   // with backpressure
///     for try await piece in exchange.body { … }                       // in a task
///
/// One way for one body. It does not read ahead: a sender is not faster than you. A client that
/// waits for `100 Continue` is sent it when the body is first asked for (RFC 9110 §10.1.1). The
/// coding is taken off. It belongs to its reactor.
public final class HTTPBody: ByteSource {
    /// The reactor that it belongs to.
    public let reactor: Reactor

    /// The trailers behind a body in chunks, there when all of it has come: RFC 9112 §7.1.2.
    public internal(set) var trailers = FieldList()

    /// Bytes that have come.
    public private(set) var receivedByteCount = 0

    @exclusivity(unchecked) private var connection: (any BodyCarrier)?
    @exclusivity(unchecked) private var sink = Sink.none
    @exclusivity(unchecked) private var isPaused = false
    @exclusivity(unchecked) private var outcome: Result<Void, any Error>?

    /// All of it, if it is short and has come with its head.
    private var whole: Bytes?

    private enum Sink {
        case none
        case collecting([UInt8], limitBytes: Int, Deferred<Bytes>)
        case carrying(any Consumer, Deferred<Int>)
        case piece(Deferred<Bytes?>)
    }

    init(_ connection: any BodyCarrier, isEmpty: Bool) {
        reactor = connection.reactor
        if isEmpty { outcome = .success(()) } else { self.connection = connection }
    }

    deinit { connection?.bodyWasDropped() }

    init(failed error: any Error, on reactor: Reactor) {
        self.reactor = reactor
        outcome = .failure(error)
    }

    // MARK: A short body

    /// So much is copied at most: it saves whoever passes it on a reader and a second write.
    private static let shortByteCount = 2 * 1024

    /// All of it has come, and is here for who takes it at once.
    func offer(_ bytes: RawSpan) {
        if bytes.byteCount <= Self.shortByteCount { whole = Bytes(bytes) }
    }

    /// It is read as it comes from now on.
    ///
    /// - Returns: Whether what was offered was taken.
    func endOffer() -> Bool {
        whole = nil
        return connection == nil && outcome != nil
    }

    /// All of it, instead of reading it; `nil` if it has not come yet, or is long.
    ///
    /// Inside the call that brings the head.
    func takeWhole() -> Bytes? {
        guard let whole = whole.take(), case .none = sink, outcome == nil else { return nil }
        receivedByteCount = whole.count
        outcome = .success(())
        connection = nil
        return whole
    }

    /// Whether more may come.
    public var isOpen: Bool { outcome == nil }

    /// Why no more of it comes; `nil` while more may come, and when it is whole.
    var failure: (any Error)? { if case .failure(let error) = outcome { error } else { nil } }

    /// Whether somebody is reading it.
    var isRead: Bool { if case .none = sink { false } else { outcome == nil } }

    /// Whether bytes are wanted now.
    var accepts: Bool { isRead && !isPaused }

    private func begin(_ sink: Sink) {
        guard case .none = self.sink else {
            mistake("HTTPBody: it is being read; let one reader have it")
        }
        self.sink = sink
        connection?.bodyWasAskedFor()
    }

    // MARK: Reading

    /// Reads the whole body.
    ///
    /// - Parameter limitBytes: The most that it may have.
    /// - Returns: All of it. Fails with `ReadLimitExceeded` if it is longer, with
    ///   ``BodyTruncated``, a `ConnectionLoss` or ``HTTPTimeout`` if it breaks off, with
    ///   ``RequestError`` or ``ResponseError`` if its chunks are malformed.
    public func collect(limitBytes: Int) -> Deferred<Bytes> {
        require(limitBytes >= 0, "HTTPBody: a limit of \(limitBytes) bytes cannot be")
        switch outcome {
        case .success: return .succeeded(Bytes(), on: reactor)
        case .failure(let error): return .failed(error, on: reactor)
        case nil: break
        }
        let result = Deferred<Bytes>(on: reactor) { [weak self] _ in self?.cancelReading() }
        begin(.collecting([], limitBytes: limitBytes, result))
        return result
    }

    /// Waits for the next piece.
    ///
    /// - Returns: Bytes as they came, at least one; `nil` at the end. Fails as ``collect(limitBytes:)``
    ///   does.
    public func nextPiece() -> Deferred<Bytes?> {
        switch outcome {
        case .success: return .succeeded(nil, on: reactor)
        case .failure(let error): return .failed(error, on: reactor)
        case nil: break
        }
        let result = Deferred<Bytes?>(on: reactor) { [weak self] _ in self?.cancelReading() }
        begin(.piece(result))
        return result
    }

    /// Writes the body to a consumer as fast as that takes it.
    ///
    /// - Parameter consumer: Written to on the reactor.
    /// - Returns: A Deferred for the number of bytes that were carried.
    @discardableResult
    public func pipe(to consumer: any Consumer) -> Deferred<Int> {
        switch outcome {
        case .success:
            consumer.finishConsuming()
            return .succeeded(0, on: reactor)
        case .failure(let error):
            consumer.abandonConsuming(because: error)
            return .failed(error, on: reactor)
        case nil: break
        }
        let result = Deferred<Int>(on: reactor) { [weak self] _ in self?.cancelCarrying() }
        consumer.registerProducer(self)
        // The consumer may be gone already.
        guard outcome == nil, result.isPending else { return result }
        begin(.carrying(consumer, result))
        return result
    }

    private func cancelReading() {
        sink = .none
        connection?.continueInput()
    }

    private func cancelCarrying() {
        guard case .carrying(let consumer, _) = sink else { return }
        sink = .none
        isPaused = false
        consumer.unregisterProducer()
        consumer.abandonConsuming(because: CancellationError())
        connection?.continueInput()
    }

    // MARK: The connection

    func receive(_ bytes: RawSpan) {
        receivedByteCount += bytes.byteCount
        switch sink {
        case .none: break
        case .collecting(var whole, let limit, let result):
            sink = .none
            guard bytes.byteCount <= limit - whole.count else {
                return result.fail(ReadLimitExceeded(limitBytes: limit))
            }
            whole += bytes
            sink = .collecting(whole, limitBytes: limit, result)
        case .carrying(let consumer, _): consumer.write(bytes)
        case .piece(let result):
            sink = .none
            result.succeed(Bytes(bytes))
        }
    }

    /// All of it has come.
    func end() {
        guard outcome == nil else { return }
        outcome = .success(())
        connection = nil
        switch takeSink() {
        case .none: break
        case .collecting(let whole, _, let result): result.succeed(Bytes(whole))
        case .carrying(let consumer, let result):
            consumer.unregisterProducer()
            if let writer = consumer as? ResponseWriter {
                writer.finish(trailers: trailers)
            } else {
                consumer.finishConsuming()
            }
            result.succeed(receivedByteCount)
        case .piece(let result): result.succeed(nil)
        }
    }

    /// No more of it comes.
    func fail(_ error: any Error) {
        guard outcome == nil else { return }
        outcome = .failure(error)
        connection = nil
        switch takeSink() {
        case .none: break
        case .collecting(_, _, let result): result.fail(error)
        case .carrying(let consumer, let result):
            consumer.unregisterProducer()
            consumer.abandonConsuming(because: error)
            result.fail(error)
        case .piece(let result): result.fail(error)
        }
    }

    private func takeSink() -> Sink {
        let taken = sink
        sink = .none
        return taken
    }
}

extension HTTPBody: PushProducer {
    /// Stops reading for now.
    public func pauseProducing() { isPaused = true }

    /// Reads on.
    public func resumeProducing() {
        guard isPaused else { return }
        isPaused = false
        connection?.bodyWasAskedFor()
    }

    /// The consumer is gone: the rest of the body is dropped.
    public func stopProducing() {
        guard case .carrying(let consumer, let result) = sink else { return }
        // Whoever releases the consumer last must not find the sink in the middle of a change.
        withExtendedLifetime(consumer) { sink = .none }
        isPaused = false
        // Its client has gone: to be released unfinished is no mistake then.
        (consumer as? ResponseWriter)?.abandonConsuming(because: CancellationError())
        result.fail(PipeBroken(byteCount: receivedByteCount, to: consumer))
        connection?.continueInput()
    }
}

extension HTTPBody: AsyncSequence {
    /// Bytes as they came, at least one.
    public typealias Element = Bytes

    /// Goes on where reading stands.
    public func makeAsyncIterator() -> Iterator { Iterator(body: self) }

    /// Reads when it is asked.
    public struct Iterator: AsyncIteratorProtocol {
        let body: HTTPBody

        /// Waits for the next piece; `nil` at the end.
        public mutating func next() async throws -> Bytes? {
            try await body.nextPiece().value
        }

        /// Waits for the next piece; `nil` at the end.
        ///
        /// - Parameter actor: The caller's; leave it out.
        /// - Returns: At least one byte; `nil` at the end of the body.
        /// - Throws: What breaks the body, for example a connection that is lost before its end.
        public mutating func next(
            isolation actor: isolated (any Actor)?
        ) async throws(any Error) -> Bytes? {
            try await body.nextPiece().value
        }
    }
}
