// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

// How bytes reach a task without a copy.
//
// A read is lent to `dataReceived` for the length of that call. So when a task waits for it, the
// task is resumed and the reactor's jobs run *inside* the call: the task finds the bytes where the
// kernel put them, and what it answers is coalesced in the connection's own event like any
// callback's. A task that does not come for them, or does not ask again before the next read, has
// them copied and the connection paused: so at most one read is held for a task that is busy, and
// one that always asks again costs no system call to pause and resume.

/// Stands above a transport for the tasks that use it as an ``AsyncConnection``.
final class ConnectionMailbox: HalfCloseableProtocol {
    private enum Ending {
        case none
        /// The peer will send no more, or both sides have closed.
        case finished
        /// Somebody here wants the connection to end: the reactor stops, or its server has ended.
        case shutdownRequested
        case lost(ConnectionLoss)
    }

    private(set) var transport: (any StreamTransport)!
    /// The transport's, which keeps it; asking it through the protocol costs a retain each time.
    private unowned(unsafe) var reactor: Reactor!
    /// Called when the connection can be used.
    private let opened: ((ConnectionMailbox) -> Void)?

    /// The present read, during its delivery.
    @exclusivity(unchecked) private var lent: UnsafeRawBufferPointer?
    @exclusivity(unchecked) private var reader: WaitKey?
    /// What nobody came for.
    private var held = Bytes()
    /// What was taken and not used; it comes before what is held or lent.
    private var unused = InputBuffer()
    private var isPaused = false
    private var ending = Ending.none

    private var isFull = false
    private var isClosing = false
    /// Why nothing can be written any more, while what had arrived before is still delivered.
    private var outputLoss: ConnectionLoss?
    /// Tasks that wait for room.
    @exclusivity(unchecked) private var writers: [WaitKey] = []
    /// The reader, while it waits for room.
    private var throttledReader: WaitKey?

    init(opened: ((ConnectionMailbox) -> Void)? = nil) { self.opened = opened }

    deinit {
        let count = held.count + unused.count
        if count > 0 { transport.reactor.queues.remove(count) }
    }

    // MARK: What the transport tells

    func connectionMade(_ transport: any StreamTransport) {
        self.transport = transport
        unsafe reactor = transport.reactor
        transport.registerProducer(self)
        opened?(self)
    }

    func dataReceived(_ bytes: RawSpan, from transport: any StreamTransport) {
        if let waiting = reader.take(), reactor.resume(waiting) {
            unsafe lent = bytes.withUnsafeBytes { unsafe $0 }
            reactor.runReadyJobs()
            if unsafe lent.take() == nil { return }
        }
        held = Bytes(bytes)
        transport.reactor.queues.add(held.count)
        isPaused = true
        transport.pauseProducing()
    }

    func readConnectionLost(from transport: any StreamTransport) { end(.finished) }

    func writeConnectionLost(from transport: any StreamTransport) {}

    func shutdownRequested(_ transport: any StreamTransport) { requestShutdown() }

    func connectionLost(_ why: ConnectionLoss, from transport: any StreamTransport) {
        isClosing = true
        if case .none = ending { end(why.isClean ? .finished : .lost(why)) }
        // A peer that had finished and then broke the connection is a loss for writers.
        if !why.isClean { ending = .lost(why) }
        resumeWriters()
    }

    private func end(_ ending: Ending) {
        self.ending = ending
        if let waiting = reader.take() { reactor.resume(waiting) }
    }

    /// Tells readers, when they have read what is held, that they are to finish.
    ///
    /// It is an error and not the end: what they read was cut off here, and the peer may still send.
    func requestShutdown() {
        if case .none = ending { end(.shutdownRequested) }
    }

    // MARK: Reading

    /// Waits until there is something to take.
    ///
    /// A connection that cannot send does not read either, so that an echo whose client never reads
    /// holds little more than the high mark, whatever it writes with. Not so while another task waits
    /// for room: then it is not reading that fills the queue, and the peer may be one that sends no
    /// more before it is read from, as an echo is.
    ///
    /// - Returns: False at the end.
    @inline(__always)
    nonisolated(nonsending) func waitForBytes() async throws -> Bool {
        if !unused.isEmpty { return true }
        return try await waitForNewBytes()
    }

    /// Waits until there is something to take besides what is unused.
    @inline(__always)
    nonisolated(nonsending) private func waitForNewBytes() async throws -> Bool {
        reactor.checkThread()
        while unsafe lent == nil, held.isEmpty {
            switch ending {
            case .none: break
            case .finished: return false
            case .shutdownRequested: throw ShutdownRequested()
            case .lost(let why): throw why
            }
            require(
                reader == nil && throttledReader == nil,
                "AsyncConnection: two tasks read from \(transport.peerAddress) at the same time;"
                    + " let one read and hand on")
            if isFull, writers.isEmpty {
                defer { throttledReader = nil }
                try await reactor.suspend { throttledReader = $0 }
                // Meanwhile something may have arrived, which comes first, or the end.
                continue
            }
            if isPaused {
                isPaused = false
                transport.resumeProducing()
            }
            defer { reader = nil }
            try await reactor.suspend { reader = $0 }
        }
        return true
    }

    /// Lends what there is, which is then gone.
    func take<Result>(_ body: (RawSpan) throws -> Result) rethrows -> Result {
        guard unused.isEmpty else {
            let bytes = takeUnused()
            return try body(bytes.span)
        }
        return try takeNew(body)
    }

    private func takeNew<Result>(_ body: (RawSpan) throws -> Result) rethrows -> Result {
        if let bytes = unsafe lent.take() { return try body(unsafe bytes.bytes) }
        let bytes = takeHeld()
        return try body(bytes.span)
    }

    /// Takes what there is.
    func takeBytes() -> Bytes {
        guard unused.isEmpty else { return takeUnused() }
        if let bytes = unsafe lent.take() { return Bytes(unsafe bytes.bytes) }
        let bytes = takeHeld()
        return bytes
    }

    /// Takes what nobody has read, of a connection that a filter comes into.
    func takeForFilter() -> Bytes {
        require(
            reader == nil && throttledReader == nil,
            "AsyncConnection: startFilter while another task reads from \(transport.peerAddress)")
        return unsafe lent == nil && held.isEmpty ? Bytes() : takeBytes()
    }

    private func takeHeld() -> Bytes {
        var bytes = Bytes()
        swap(&bytes, &held)
        reactor.queues.remove(bytes.count)
        return bytes
    }

    private func takeUnused() -> Bytes {
        reactor.queues.remove(unused.count)
        return unused.takeBytes()
    }

    /// Waits for one message; what is behind it stays here.
    ///
    /// - Returns: Nil if the peer has ended before its first byte.
    /// - Throws: What `decode` throws, and then nothing was used; ``UnexpectedEnd``, or as
    ///   ``waitForBytes()`` does.
    nonisolated(nonsending) func readMessage<Message>(
        limitBytes: Int, _ decode: (inout ByteReader) throws -> Message
    ) async throws -> Message? {
        var attempt = DecodingAttempt(limitBytes: limitBytes)
        if !unused.isEmpty,
            let message = try changeUnused({ try $0.takeMessage(&attempt, decode) })
        {
            return message
        }
        while try await waitForNewBytes() {
            if let message = try takeNew({ try takeMessage(from: $0, &attempt, decode) }) {
                return message
            }
        }
        guard unused.isEmpty, !attempt.hasCommitted else {
            throw UnexpectedEnd(byteCount: unused.count)
        }
        return nil
    }

    private func takeMessage<Message>(
        from bytes: RawSpan, _ attempt: inout DecodingAttempt,
        _ decode: (inout ByteReader) throws -> Message
    ) throws -> Message? {
        try changeUnused { buffer in
            guard !buffer.isEmpty else {
                return try buffer.takeMessage(from: bytes, &attempt, decode)
            }
            buffer.append(bytes)
            return try buffer.takeMessage(&attempt, decode)
        }
    }

    /// Changes what is unused, and counts it anew for the reactor's queues.
    ///
    /// It is taken out meanwhile: a decoder is a user's code, which may touch the connection.
    private func changeUnused<Result>(
        _ body: (inout InputBuffer) throws -> Result
    ) rethrows -> Result {
        var buffer = unused.take()
        let before = buffer.count
        defer {
            unused = buffer
            let change = buffer.count - before
            if change > 0 { reactor.queues.add(change) }
            if change < 0 { reactor.queues.remove(-change) }
        }
        return try body(&buffer)
    }

    // MARK: Writing

    /// Whether a writer goes on without waiting, after it wrote so many bytes.
    @inline(__always)
    func mayGoOn(afterWriting byteCount: Int) -> Bool {
        reactor.executor.queue.mayGoOn(afterWriting: byteCount) && !isFull && !isClosing
            && outputLoss == nil
    }

    /// Waits while the queue is above its high mark, or if there is room, until the next turn: the
    /// task has written as much as it may in one.
    nonisolated(nonsending) func waitForRoom() async throws {
        try checkOpen()
        if isFull {
            while isFull { try await waitInLine() }
        } else {
            await reactor.yield()
            // By then it may know that its peer has gone, or that it is to end.
            try checkOpen()
            try Task.checkCancellation()
        }
        if case .lost(let why) = ending { throw why }
    }

    private func checkOpen() throws {
        if case .lost(let why) = ending { throw why }
        if isClosing { throw ConnectionLoss.closedLocally }
        if let outputLoss { throw outputLoss }
    }

    private nonisolated(nonsending) func waitInLine() async throws {
        var key: WaitKey?
        do {
            try await reactor.suspend { wait in
                key = wait
                writers.append(wait)
                if let throttledReader { reactor.resume(throttledReader) }
            }
        } catch {
            writers.removeAll { $0 == key }
            throw error
        }
    }

    private func resumeWriters() {
        isFull = false
        let waiting = writers
        writers.removeAll(keepingCapacity: true)
        for key in waiting { reactor.resume(key) }
        if let throttledReader { reactor.resume(throttledReader) }
    }

    // MARK: Closing

    func finishWriting() {
        // Reading must go on, though the peer reads nothing.
        resumeWriters()
        transport.unregisterProducer()
        transport.loseWriteConnection()
    }

    func close() {
        guard !isClosing else { return }
        isClosing = true
        if case .none = ending { end(.finished) }
        transport.unregisterProducer()
        transport.loseConnection()
        resumeWriters()
    }

    func abort(because error: any Error) {
        guard !isClosing else { return }
        transport.abortConnection(because: error)
    }
}

extension ConnectionMailbox: InvariantChecking {
    func checkInvariants() {
        unsafe require(lent == nil, "ConnectionMailbox: a read is lent out after its event")
        require(
            held.isEmpty || isPaused, "ConnectionMailbox: holds \(held.count) bytes, and reads on")
        if let reader, reactor.waits.isWaiting(reader) {
            require(
                held.isEmpty, "ConnectionMailbox: a task waits for the \(held.count) bytes it holds"
            )
            require(!isPaused, "ConnectionMailbox: a task waits for bytes, and nothing is read")
            let hasEnded = if case .none = ending { false } else { true }
            require(!hasEnded, "ConnectionMailbox: a task waits for bytes after the end")
        }
        require(
            isFull || !writers.contains(where: reactor.waits.isWaiting),
            "ConnectionMailbox: a task waits for room, and there is")
    }
}

extension ConnectionMailbox: PushProducer {
    func pauseProducing() { isFull = true }

    func resumeProducing() { resumeWriters() }

    func stopProducing() {
        if !isClosing { outputLoss = (transport as? any LossReporting)?.lossReason }
        resumeWriters()
    }
}
