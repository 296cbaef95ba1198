// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

@_spi(Backend) internal import TorsionCore

/// A stream that fails, is cut, or is late, by its backend's plan.
///
/// What it holds back it tells in order, from its backend's next turn on, and only while it is
/// read: so it also plays a completion backend, which has bytes in hand when reading stops.
final class FaultStream: DelayedReporting {
    var inner: (any BackendStream)!
    var receiver: (any StreamReceiver)?

    private unowned let backend: FaultBackend
    private var isReading = false
    private var isOpen = true
    private var isReportedLater = false
    /// A read has failed, and what it had read is gone: nothing behind it may be delivered.
    private var isInputLost = false

    // What is late.
    private var isConnectHeld = false
    private var held = Bytes()
    private var isEndHeld = false
    private var heldQueue: WriteQueue?

    init(_ backend: FaultBackend) { self.backend = backend }

    private func tellLater() {
        guard !isReportedLater else { return }
        isReportedLater = true
        backend.tellLater(self)
    }

    /// Called by the backend in its turn.
    func reportDelayed() {
        isReportedLater = false
        guard isOpen else { return }
        if isConnectHeld {
            isConnectHeld = false
            receiver?.streamDidConnect()
        }
        if isOpen, let queue = heldQueue.take(), !queue.isEmpty {
            inner.startWriting(from: queue)
        }
        tellHeldReads()
    }

    /// Tells what was read in pieces, a few in a turn, until somebody stops it.
    private func tellHeldReads() {
        for _ in 0..<16 where isReading && !held.isEmpty {
            let count = backend.plan.readLimit(held.count)
            let piece = held[..<count]
            held = held[count...]
            receiver?.streamDidRead(piece.span)
        }
        guard isReading else { return }
        if !held.isEmpty { return tellLater() }
        guard isEndHeld else { return inner.startReading() }
        isEndHeld = false
        isReading = false
        receiver?.streamDidReadEnd()
    }

    private func fail(_ operation: IOError.Operation, _ function: String, _ code: ErrorCode) {
        // With the stream its input breaks as well: what a read had taken is gone, and what is in
        // hand is the rest.
        isInputLost = true
        if operation == .read { held = Bytes() }
        let error = IOError(operation, function: function, code: code, subject: "\(peerAddress)")
        receiver?.streamDidFail(error)
    }

    private func leave() {
        isOpen = false
        isReading = false
        receiver = nil
        held = Bytes()
        heldQueue = nil
    }
}

extension FaultStream: BackendStream {
    var peerAddress: SocketAddress { inner.peerAddress }

    var localAddress: SocketAddress { inner.localAddress }

    var needsDraining: Bool { inner.needsDraining }

    var unsentByteCount: Int? { inner.unsentByteCount }

    var hasUnsentOutput: Bool { inner.hasUnsentOutput }

    var hasUnreadInput: Bool { !held.isEmpty || !isInputLost && inner.hasUnreadInput }

    func discardInput() {
        held = Bytes()
        inner.discardInput()
    }

    func deliver(to receiver: any StreamReceiver) {
        self.receiver = receiver
        inner.deliver(to: self)
    }

    func startReading() {
        isReading = true
        if held.isEmpty, !isEndHeld { inner.startReading() } else { tellLater() }
    }

    func stopReading() {
        isReading = false
        inner.stopReading()
    }

    func tryWrite(
        _ first: UnsafeRawBufferPointer, _ second: UnsafeRawBufferPointer
    ) -> WriteResult {
        if let code = backend.plan.failure(of: .write) { return .failed(code) }
        let limit = backend.plan.writeLimit(first.count + second.count)
        if limit == 0 { return .wrote(0) }
        let begin = unsafe UnsafeRawBufferPointer(rebasing: first.prefix(limit))
        let rest = unsafe UnsafeRawBufferPointer(rebasing: second.prefix(limit - begin.count))
        return unsafe inner.tryWrite(begin, rest)
    }

    func startWriting(from queue: WriteQueue) {
        guard backend.plan.isLate else { return inner.startWriting(from: queue) }
        heldQueue = queue
        tellLater()
    }

    func subject(of operation: IOError.Operation) -> String? { inner.subject(of: operation) }

    var passesDescriptors: Bool { inner.passesDescriptors }

    var peerCredentials: PeerCredentials? { inner.peerCredentials }

    var lentDescriptor: Int32? { inner.lentDescriptor }

    func socketOptions() throws(IOError) -> SocketOptions { try inner.socketOptions() }

    func setSocketOptions(_ options: SocketOptions) throws(IOError) {
        try inner.setSocketOptions(options)
    }

    func receiveDescriptors(_ isWanted: Bool) { inner.receiveDescriptors(isWanted) }

    func duplicate(_ descriptors: [Int32]) throws(IOError) -> PassedDescriptors {
        try inner.duplicate(descriptors)
    }

    func tryWrite(
        _ bytes: UnsafeRawBufferPointer, passing descriptors: PassedDescriptors
    ) -> WriteResult {
        if let code = backend.plan.failure(of: .write) { return .failed(code) }
        let limit = backend.plan.writeLimit(bytes.count)
        if limit == 0 { return .wrote(0) }
        return unsafe inner.tryWrite(
            UnsafeRawBufferPointer(rebasing: bytes.prefix(limit)), passing: descriptors)
    }

    func trySendFile(_ file: Int32, at offset: Int64, byteCount: Int) -> SendFileResult {
        if let code = backend.plan.failure(of: .write) { return .streamFailed(code) }
        let limit = backend.plan.writeLimit(byteCount)
        return limit == 0 ? .full : inner.trySendFile(file, at: offset, byteCount: limit)
    }

    func awaitRoom() { inner.awaitRoom() }

    func shutdownWriting() -> ErrorCode? {
        backend.plan.failure(of: .shutdown) ?? inner.shutdownWriting()
    }

    func close() {
        leave()
        inner.close()
    }

    func reset() {
        leave()
        inner.reset()
    }
}

extension FaultStream: StreamReceiver {
    func streamDidConnect() {
        if let code = backend.plan.failure(of: .connected) {
            return fail(.connect, "connect", code)
        }
        guard backend.plan.isLate else { receiver?.streamDidConnect(); return }
        isConnectHeld = true
        tellLater()
    }

    func streamDidRead(_ bytes: RawSpan) {
        if isInputLost { return }
        if let code = backend.plan.failure(of: .read) { return fail(.read, "recv", code) }
        let count = bytes.byteCount
        if !backend.plan.isLate, backend.plan.readLimit(count) == count {
            receiver?.streamDidRead(bytes)
            return
        }
        // What is in hand must not grow while it is told.
        held = Bytes(bytes)
        inner.stopReading()
        tellLater()
    }

    /// Not cut: the descriptors go with the first byte.
    func streamDidRead(_ bytes: RawSpan, carrying descriptors: PassedDescriptors) {
        if isInputLost { return }
        if let code = backend.plan.failure(of: .read) { return fail(.read, "recvmsg", code) }
        receiver?.streamDidRead(bytes, carrying: descriptors)
    }

    func streamDidReadEnd() {
        if let code = backend.plan.failure(of: .read) { return fail(.read, "recv", code) }
        guard !held.isEmpty || backend.plan.isLate else {
            isReading = false
            receiver?.streamDidReadEnd()
            return
        }
        isEndHeld = true
        tellLater()
    }

    func streamDidWrite(byteCount: Int) {
        if let code = backend.plan.failure(of: .write) { return fail(.write, "sendmsg", code) }
        receiver?.streamDidWrite(byteCount: byteCount)
    }

    func streamHasRoom() { receiver?.streamHasRoom() }

    func streamDidFail(_ error: any Error) {
        isConnectHeld = false
        receiver?.streamDidFail(error)
    }
}
