// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

/// Something whose bytes can be carried to any consumer: what arrives at a transport, a file, an
/// asynchronous sequence.
public protocol ByteSource {
    /// Carries everything there is to a consumer, as fast as the consumer takes it, until it ends.
    ///
    ///     client.pipe(to: server)                     // with its counterpart, a proxy
    ///     server.pipe(to: client)
    ///     FileProducer(path: path, on: reactor).pipe(to: client)
    ///     client.pipe(to: FileConsumer(path: path, on: reactor))
    ///
    /// The source's end is passed on by ``Consumer/finishConsuming()``, which ends a transport's
    /// outgoing direction; everything before it was handed to the destination by then, which may
    /// have some of it still: for a file, wait for ``FileConsumer/written``. If the source breaks,
    /// ``Consumer/abandonConsuming(because:)`` is called, which resets a transport behind what was
    /// written. If the destination is lost, the source is stopped.
    ///
    /// A transport that is a source has its protocol replaced. If it closes by this side, it has ended as if
    /// its peer had: what joins two connections lets both end when either closes. If its destination is
    /// lost, it is closed if that was a transport, so that what that has answered still leaves; else it
    /// is aborted: its peer must not take what a file could not keep for delivered.
    ///
    /// Each of two pipes that make a proxy ends by itself, so one may wait for its source without
    /// end when the other has ended: ``StreamProxy`` has a deadline for that.
    ///
    /// Called once.
    ///
    /// - Parameter consumer: The destination.
    /// - Precondition: The consumer is without a producer.
    /// - Returns: Fires with the number of bytes carried when the source has ended, also if it had
    ///   before; fails with what broke the source, a ``ConnectionLoss`` for a transport, or with
    ///   ``PipeBroken`` if the destination was lost first.
    @discardableResult
    func pipe(to consumer: any Consumer) -> Deferred<Int>
}

extension StreamTransport {
    /// Replaces the protocol by one that writes what arrives to `consumer`.
    ///
    /// - Parameter consumer: Written to on the reactor.
    /// - Returns: A Deferred for the number of bytes that were carried, which fires at EOF. It
    ///   fails as ``ByteSource/pipe(to:)``.
    @discardableResult
    public func pipe(to consumer: any Consumer) -> Deferred<Int> {
        producing(into: consumer).result
    }

    /// The same, with the protocol that carries.
    ///
    /// `outlivesStop`: Whether a stop of the reactor leaves it alone.
    func producing(
        into consumer: any Consumer, outlivesStop: Bool = false
    ) -> (pipe: PipeProtocol, result: Deferred<Int>) {
        let result = Deferred<Int>(on: reactor)
        let pipe = PipeProtocol(
            to: consumer, from: self, outlivesStop: outlivesStop, result: result)
        switchProtocol(to: pipe)
        return (pipe, result)
    }

    /// Ends the outgoing direction when everything has left.
    public func finishConsuming() { loseWriteConnection() }

    /// Resets the connection when the peer has got what was written: it is not the whole.
    ///
    /// A transport that is not the engine's own is aborted at once.
    ///
    /// - Parameter error: Kept out of the connection: the peer sees a reset.
    public func abandonConsuming(because error: any Error) {
        guard let connection = self as? StreamConnection else { return abortConnection() }
        connection.abandonConnection()
    }
}

/// The destination of a pipe was lost before the source had ended.
public struct PipeBroken: Error, Hashable, Sendable, CustomStringConvertible {
    /// Bytes that were written to the destination; how many arrived is not known.
    public let byteCount: Int
    /// The other end of a destination that was a connection.
    public let destination: SocketAddress?
    /// Why that connection was lost, if it is known.
    public let cause: ConnectionLoss?

    /// A sentence.
    public var description: String {
        let place = destination.map { ", \($0)," } ?? ""
        let cause = cause.map { ": \($0)" } ?? ""
        return "the destination of a pipe\(place) was lost after \(byteCount) bytes\(cause)"
    }

    /// Feeds the count and the address to a hasher: a cause has no hash.
    ///
    /// - Parameter hasher: Fed with both, in order.
    public func hash(into hasher: inout Hasher) {
        hasher.combine(byteCount)
        hasher.combine(destination)
    }

    package init(byteCount: Int, to destination: (any Consumer)? = nil) {
        self.byteCount = byteCount
        self.destination = (destination as? any StreamTransport)?.peerAddress
        cause = (destination as? any LossReporting)?.lossReason
    }
}

/// Stands above the source, and is the destination's producer.
///
/// Between two connections without filters and observers it need not see the bytes: a backend that
/// can moves them from one to the other (``BackendStream/spliceInput(_:)``), and tells how many.
final class PipeProtocol: HalfCloseableProtocol {
    private let source: any StreamTransport
    private let destination: any Consumer
    private let outlivesStop: Bool
    private var result: Deferred<Int>?
    /// What was carried so far.
    private(set) var byteCount = 0
    /// Whether the destination does not want more now.
    private(set) var isPaused = false
    private var isProducing = false
    private var isShutDown = false
    /// The source is being closed by this side.
    private var isSourceClosing = false

    init(
        to destination: any Consumer, from source: any StreamTransport, outlivesStop: Bool,
        result: Deferred<Int>
    ) {
        self.destination = destination
        self.source = source
        self.outlivesStop = outlivesStop
        self.result = result
    }

    /// A result is left only if the source never took this protocol, since it was lost before:
    /// a transport that is lost lets go of its protocol's successor without a call.
    deinit {
        guard let result else { return }
        let why = (source as? any LossReporting)?.lossReason ?? .failed(lostBefore)
        destination.abandonConsuming(because: why)
        result.fail(why)
    }

    /// Where the source cannot say more.
    private var lostBefore: IOError {
        let subject = "\(source.peerAddress)"
        return IOError(.read, function: "", code: .notConnected, subject: subject)
    }

    func connectionMade(_ transport: any StreamTransport) {
        isProducing = true
        // In this order: a destination that is full pauses the source in the second call.
        source.resumeProducing()
        destination.registerProducer(self)
    }

    func dataReceived(_ bytes: RawSpan, from transport: any StreamTransport) {
        byteCount += bytes.byteCount
        destination.write(bytes)
    }

    /// Where bytes may go without coming here.
    var spliceTarget: (any BackendStream)? { (destination as? StreamConnection)?.spliceEntrance }

    /// Bytes arrived and went to ``spliceTarget``.
    func relayed(byteCount: Int, rest: RawSpan, failure: ErrorCode?) {
        self.byteCount += byteCount + rest.byteCount
        (destination as? StreamConnection)?.tookSpliced(byteCount: byteCount, failure: failure)
        if rest.byteCount > 0 { destination.write(rest) }
    }

    func readConnectionLost(from transport: any StreamTransport) { endOfSource() }

    private func endOfSource() {
        stopBeingProducer()
        destination.finishConsuming()
        finish(.success(byteCount))
    }

    func writeConnectionLost(from transport: any StreamTransport) {}

    /// The reactor stops: what arrives is cut off here, or carried on as long as the stop waits.
    func shutdownRequested(_ transport: any StreamTransport) {
        if outlivesStop { return }
        isShutDown = true
        transport.loseConnection()
    }

    func connectionLost(_ why: ConnectionLoss, from transport: any StreamTransport) {
        stopBeingProducer()
        guard result != nil else {
            if isSourceClosing, destination is any StreamTransport { closeDestination() }
            return
        }
        if why.isClean, isCutOff {
            cutOff()
        } else if why.isClean {
            closeDestination()
            finish(.success(byteCount))
        } else {
            destination.abandonConsuming(because: why)
            finish(.failure(why))
        }
    }

    /// Both directions of the source have ended: so does a connection that it was joined to.
    private func closeDestination() {
        guard let transport = destination as? any StreamTransport else {
            return destination.finishConsuming()
        }
        transport.loseConnection()
    }

    private func stopBeingProducer() {
        guard isProducing else { return }
        isProducing = false
        destination.unregisterProducer()
    }

    private func finish(_ outcome: Result<Int, any Error>) {
        guard let result else { return }
        self.result = nil
        switch outcome {
        case .success(let count): result.succeed(count)
        case .failure(let error): result.fail(error)
        }
    }
}

extension PipeProtocol: ClosingObserver {
    /// Takes it for the end of the source, as if its peer had closed.
    ///
    /// Else two connections that are joined by two pipes would each wait for the other, as for a
    /// producer that goes on.
    func connectionIsClosing() {
        guard result != nil else { return }
        isSourceClosing = true
        if isCutOff { cutOff() } else { endOfSource() }
    }

    /// Whether a stop ended the source of a file or a sequence, which must not take a part for the
    /// whole.
    private var isCutOff: Bool { isShutDown && !(destination is any StreamTransport) }

    private func cutOff() {
        stopBeingProducer()
        destination.abandonConsuming(because: ShutdownRequested())
        finish(.failure(ShutdownRequested()))
    }
}

extension PipeProtocol: InvariantChecking {
    func checkInvariants() {
        require(
            isProducing == (result != nil),
            "PipeProtocol: its end was told, and it produces; or the other way round")
        if let source = source as? StreamConnection {
            require(
                !isProducing || source.mayDeliver,
                "PipeProtocol: its destination waits for a source that delivers no more")
        }
        if destination is any StreamTransport { return }
        (destination as? any InvariantChecking)?.checkInvariants()
    }
}

extension PipeProtocol {
    /// What is paused when the destination is full.
    var pausedSource: any PushProducer { source }

    /// The type of the destination.
    var consumerType: String { String(reflecting: type(of: destination as Any)) }
}

extension PipeProtocol: PushProducer {
    func pauseProducing() {
        isPaused = true
        source.pauseForConsumer()
    }

    func resumeProducing() {
        isPaused = false
        source.resumeProducing()
    }

    func stopProducing() {
        isProducing = false
        finish(.failure(PipeBroken(byteCount: byteCount, to: destination)))
        if destination is any StreamTransport {
            source.loseConnection()
        } else {
            source.abortConnection()
        }
    }
}
