// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

@_spi(Backend) internal import TorsionCore

/// The stream of an endpoint's child: what the child exits with is a part of how it ends.
///
/// It stands between the connection and the child's pipes. EOF is held back until the child has
/// exited, a second at most, since a child that has failed ends its output in the same way as one that
/// is done. When the child has exited, and somebody else has its output open still, the stream ends
/// all the same when `Command.drainTimeout` has passed.
final class ProcessStream {
    /// How long EOF waits for the child's exit.
    private static let exitTimeout = Duration.seconds(1)

    private let inner: any BackendStream
    private let child: ChildProcess
    private var receiver: (any StreamReceiver)?
    private var isReading = false
    private var isOpen = true
    /// Whether the child has closed its input with something unread, or before something was written.
    private var hasRefusedInput = false
    private var end = End.none
    private var call: DelayedCall?

    private enum End { case none, awaitingExit, ready, delivered }

    init(_ inner: any BackendStream, to child: ChildProcess) {
        self.inner = inner
        self.child = child
    }

    /// The child has exited.
    func childExited(_ status: ProcessStatus) {
        switch end {
        case .none: awaitDraining()
        case .awaitingExit: becomeReady()
        case .ready, .delivered: break
        }
    }

    /// A connection that the program has paused meanwhile is not held open by somebody else.
    private func awaitDraining() {
        guard isOpen else { return }
        let wasReading = isReading
        call = child.reactor.callLater(child.command.drainTimeout) { [weak self] in
            guard let self, isOpen, end == .none else { return }
            guard wasReading, isReading else { return awaitDraining() }
            inner.stopReading()
            becomeReady()
        }
    }

    private func becomeReady() {
        call?.cancel()
        call = nil
        end = .ready
        deliverEnd()
    }

    private func deliverEnd() {
        guard isOpen, isReading, end == .ready else { return }
        end = .delivered
        isReading = false
        if let status = child.status, !status.isSuccess {
            receiver?.streamDidFail(
                ProcessFailure(program: child.command.program, status: status))
        } else {
            receiver?.streamDidReadEnd()
        }
    }

    private func finish(isAborted: Bool) {
        isOpen = false
        receiver = nil
        call?.cancel()
        call = nil
        let (child, time) = (child, child.command.endTimeout)
        child.streamClosed(0)
        guard !child.isOver else { return }
        // EOF is enough for most programs, and leaves them the time to finish their work.
        if isAborted { child.end() } else { child.reactor.callLater(time) { child.end() } }
    }
}

extension ProcessStream: StreamReceiver {
    func streamDidConnect() {}

    func streamDidRead(_ bytes: RawSpan) { receiver?.streamDidRead(bytes) }

    func streamDidReadEnd() {
        call?.cancel()
        end = .awaitingExit
        guard child.status == nil else { return becomeReady() }
        call = child.reactor.callLater(Self.exitTimeout) { [weak self] in self?.becomeReady() }
    }

    func streamDidWrite(byteCount: Int) { receiver?.streamDidWrite(byteCount: byteCount) }

    func streamHasRoom() { receiver?.streamHasRoom() }

    func streamDidFail(_ error: any Error) {
        if (error as? IOError)?.code == .brokenPipe { hasRefusedInput = true }
        receiver?.streamDidFail(error)
    }
}

extension ProcessStream: BackendStream {
    var peerAddress: SocketAddress { inner.peerAddress }

    var localAddress: SocketAddress { inner.localAddress }

    func subject(of operation: IOError.Operation) -> String? { inner.subject(of: operation) }

    func deliver(to receiver: any StreamReceiver) {
        self.receiver = receiver
        inner.deliver(to: self)
    }

    func startReading() {
        isReading = true
        switch end {
        case .none: inner.startReading()
        case .awaitingExit, .delivered: break
        // Never inside the call.
        case .ready: child.reactor.callLater(.zero) { [weak self] in self?.deliverEnd() }
        }
    }

    func stopReading() {
        isReading = false
        if end == .none { inner.stopReading() }
    }

    /// The pipes are two: a child that takes no more input may still have something to say, and says
    /// when that is over.
    var hasUnreadInput: Bool {
        inner.hasUnreadInput || hasRefusedInput && end != .delivered
    }

    func discardInput() { inner.discardInput() }

    func tryWrite(
        _ first: UnsafeRawBufferPointer, _ second: UnsafeRawBufferPointer
    ) -> WriteResult {
        let result = inner.tryWrite(first, second)
        if case .failed(.brokenPipe) = result { hasRefusedInput = true }
        return result
    }

    func startWriting(from queue: WriteQueue) { inner.startWriting(from: queue) }

    func shutdownWriting() -> ErrorCode? { inner.shutdownWriting() }

    var needsDraining: Bool { inner.needsDraining }

    var lentDescriptor: Int32? { inner.lentDescriptor }

    var unsentByteCount: Int? { inner.unsentByteCount }

    var hasUnsentOutput: Bool { inner.hasUnsentOutput }

    func close() {
        inner.close()
        finish(isAborted: false)
    }

    func reset() {
        inner.reset()
        finish(isAborted: true)
    }
}
