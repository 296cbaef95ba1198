// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

@_spi(Backend) internal import TorsionCore

/// A stream over a simulated socket.
final class SimulatedStream: SimulatedHandle {
    private static let readsPerTurn = 16
    private static let writesPerTurn = 16
    private static let readByteCount = 64 * 1024

    private let socket: SimulatedSocket
    private var receiver: (any StreamReceiver)?
    private var phase: Phase
    private var isReading = false
    private var isSplicing = false
    private var isEndReported = false
    /// The failure was reported, and the core still reads what had arrived before it.
    private var hasFailed = false
    private var queue: WriteQueue?
    /// What a program has set; they change nothing in a simulation.
    private var options = SocketOptions(
        noDelay: true, keepAlive: StreamOptions.KeepAlive(), receiveBufferBytes: 65_536,
        sendBufferBytes: 65_536)

    private enum Phase { case connecting, open, failed, closed }

    init(backend: SimulatedBackend, socket: SimulatedSocket, receiver: (any StreamReceiver)?) {
        self.socket = socket
        self.receiver = receiver
        phase = socket.isClient ? .connecting : .open
        super.init(backend: backend)
        socket.stream = self
    }

    /// The socket has room for more.
    func roomAppeared() { if queue != nil { becameReady() } }

    override func poll() {
        if phase != .closed, socket.strike(.late) != nil { return becameReady() }
        switch phase {
        case .closed, .failed: return
        case .connecting: finishConnecting()
        case .open: break
        }
        if phase == .open, isReading { readOn() }
        if phase == .open, !hasFailed, let code = socket.error,
            !isReading || socket.received.isEmpty
        {
            fail(code, "recv", .read)
        }
        if phase == .open { writeOn() }
        if phase == .open, hasMore { becameReady() }
    }

    private var hasMore: Bool {
        if isReading, !socket.received.isEmpty || hasEnd && !isEndReported { return true }
        return socket.error != nil && !hasFailed || queue != nil && socket.room > 0
    }

    /// Whether an end is to be reported behind what was received.
    private var hasEnd: Bool { socket.hasPeerEnded && socket.error == nil || hasFailed }

    private func finishConnecting() {
        if let code = socket.error { return fail(code, "connect", .connect) }
        guard socket.state == .open else { return }
        phase = .open
        note(.connected)
        receiver?.streamDidConnect()
    }

    // MARK: Reading

    private func readOn() {
        for _ in 0..<Self.readsPerTurn {
            guard isReading, !socket.received.isEmpty else { break }
            guard let word = socket.strike(.cutRead) else {
                let bytes = read(Self.readByteCount)
                // As on a real backend, what comes in small pieces is not worth it.
                if isSplicing, let target = receiver?.spliceTarget as? SimulatedStream {
                    relay(bytes, to: target)
                } else {
                    receiver?.streamDidRead(bytes.span)
                }
                continue
            }
            let available = min(Self.readByteCount, socket.received.byteCount)
            receiver?.streamDidRead(read(1 + Int(word % UInt64(available))).span)
        }
        guard isReading, socket.received.isEmpty else { return }
        if hasEnd, !isEndReported {
            isEndReported = true
            isReading = false
            note(.end)
            receiver?.streamDidReadEnd()
        }
    }

    private func read(_ limit: Int) -> Bytes {
        let bytes = socket.read(limit)
        note(.read(bytes.count))
        return bytes
    }

    private func relay(_ bytes: Bytes, to target: SimulatedStream) {
        switch unsafe bytes.withUnsafeBytes({ unsafe target.tryWrite($0) }) {
        case .wrote(let count):
            receiver?.streamDidSplice(byteCount: count, rest: bytes[count...].span, failure: nil)
        case .failed(let code):
            receiver?.streamDidSplice(byteCount: 0, rest: bytes[..<0].span, failure: code)
        }
    }

    // MARK: Writing

    private func writeOn() {
        for _ in 0..<Self.writesPerTurn {
            guard phase == .open, let queue, !queue.isEmpty else { break }
            if let code = socket.error { return fail(code, "sendmsg", .write) }
            let count = unsafe queue.withHead { runs in unsafe take(runs) }
            guard count > 0 else { return }
            note(.wrote(count))
            receiver?.streamDidWrite(byteCount: count)
        }
        if queue?.isEmpty ?? true { queue = nil }
    }

    /// Takes what there is room for.
    private func take(_ runs: UnsafeBufferPointer<UnsafeRawBufferPointer>) -> Int {
        let offered = unsafe runs.reduce(0) { $0 + $1.count }
        let limit = writeLimit(offered)
        guard limit > 0 else { return 0 }
        var joined: [UInt8] = []
        joined.reserveCapacity(limit)
        for index in 0..<runs.count where joined.count < limit {
            unsafe joined.append(contentsOf: runs[index].prefix(limit - joined.count))
        }
        socket.take(Bytes(joined))
        return limit
    }

    private func writeLimit(_ offered: Int) -> Int {
        let room = min(offered, socket.room)
        guard room > 0, socket.strike(.fullBuffer) == nil else { return 0 }
        guard let word = socket.strike(.cutWrite) else { return room }
        return 1 + Int(word % UInt64(room))
    }

    // MARK: The end

    private func fail(_ code: ErrorCode, _ function: String, _ operation: IOError.Operation) {
        if phase == .open { hasFailed = true } else { phase = .failed }
        queue = nil
        note(.failed(code.name))
        receiver?.streamDidFail(
            IOError(operation, function: function, code: code, subject: "\(peerAddress)"))
    }

    private func leave() {
        precondition(phase != .closed, "BackendStream: closed twice")
        phase = .closed
        isReading = false
        queue = nil
        receiver = nil
        backend.openHandleCount -= 1
    }

    private func note(_ told: Trace.Told) {
        let network = backend.network
        network.trace.add(
            time: network.now.nanoseconds, host: socket.node.index, connection: socket.number,
            .told(told))
    }
}

extension SimulatedStream: BackendStream {
    func socketOptions() -> SocketOptions { options }

    func setSocketOptions(_ options: SocketOptions) { self.options = options }

    var peerAddress: SocketAddress { socket.peerAddress }

    var localAddress: SocketAddress { socket.localAddress }

    var needsDraining: Bool { true }

    var unsentByteCount: Int? { socket.unacknowledgedByteCount }

    var hasUnreadInput: Bool { !socket.received.isEmpty }

    func discardInput() { while !socket.received.isEmpty { _ = socket.read(.max) } }

    func deliver(to receiver: any StreamReceiver) { self.receiver = receiver }

    func startReading() {
        isReading = true
        if hasMore { becameReady() }
    }

    func stopReading() { isReading = false }

    var spliceEntrance: (any BackendStream)? { self }

    func spliceInput(_ isWanted: Bool) { isSplicing = isWanted }

    func tryWrite(
        _ first: UnsafeRawBufferPointer, _ second: UnsafeRawBufferPointer
    ) -> WriteResult {
        if let code = socket.error { return .failed(code) }
        if socket.isEndAsked { return .failed(.brokenPipe) }
        return unsafe withUnsafeTemporaryAllocation(
            of: UnsafeRawBufferPointer.self, capacity: 2
        ) { runs in
            unsafe runs.initializeElement(at: 0, to: first)
            unsafe runs.initializeElement(at: 1, to: second)
            return unsafe .wrote(take(UnsafeBufferPointer(runs)))
        }
    }

    func startWriting(from queue: WriteQueue) {
        self.queue = queue
        if socket.room > 0 { becameReady() }
    }

    func shutdownWriting() -> ErrorCode? {
        if let code = socket.error { return code }
        socket.shutdown()
        return nil
    }

    func close() {
        leave()
        socket.close()
    }

    func reset() {
        leave()
        socket.reset()
    }
}
