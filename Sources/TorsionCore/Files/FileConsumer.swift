// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

/// A file that takes bytes, and slows their source down while the disk is busy.
///
///     let file = FileConsumer(path: "/tmp/received", on: reactor)
///     transport.pipe(to: file).whenFailed { error in print("\(error)") }
///     file.written.addCallback { count in print("\(count) bytes") }
///         .whenFailed { error in print("\(error)") }
///
/// Worker threads open, write and close it, one call at a time; the reactor does not wait for them.
/// Bytes that arrived before an error stay in the file.
public final class FileConsumer: Consumer {
    /// Fires when everything was written and the file is closed, with the number of bytes.
    ///
    /// That is after the pipe has ended, whose last bytes wait for the disk then. The kernel has
    /// them all; `fsync(2)` is not called.
    ///
    /// Fails with an ``IOError`` that names the path, for example ``ErrorCode/noSpace``, or with
    /// what broke the source; then what had arrived was written. Cancelling it drops the rest.
    public let written: Deferred<Int>

    private let path: String
    private let reactor: Reactor
    private var file: (any OpenFile)?
    private let producer: RegisteredProducer
    private var filling: [UInt8] = []
    private var position = 0
    private var isWorking = true
    private var state = State.open

    private enum State {
        case open
        /// What has arrived is still written; `error` is what broke the source.
        case finishing(error: (any Error)?)
        case over
    }

    private var isOpen: Bool { if case .open = state { true } else { false } }

    /// Opens a file for what comes.
    ///
    /// - Parameters:
    ///   - path: The file.
    ///   - access: Whether a file that exists is replaced or an error.
    ///   - watermarks: When a producer is paused and resumed, in bytes that wait for the disk. The
    ///     limit is that of a producer that does not heed it: then the consumer fails with
    ///     ``ConnectionLoss/writeLimitExceeded``.
    ///   - reactor: Whose worker threads write.
    public init(
        path: String, for access: FileAccess = .replacing,
        watermarks: Watermarks = Watermarks(low: 256 << 10, high: 1 << 20), on reactor: Reactor
    ) {
        self.path = path
        self.reactor = reactor
        producer = RegisteredProducer(watermarks: watermarks, on: reactor)
        let cancelled = Cancelled()
        written = Deferred<Int>(on: reactor) { _ in cancelled.body?() }
        cancelled.body = { [weak self] in self?.fail(CancellationError()) }
        open(for: access)
    }

    /// A canceller is needed before there is a consumer to tell.
    private final class Cancelled {
        var body: (() -> Void)?
    }

    private func open(for access: FileAccess) {
        do {
            let files = try reactor.files
            let path = path
            reactor.deferToThread { try files.open(path, for: access) }
                .addCallback { [self] file in
                    self.file = file
                    isWorking = false
                    proceed()
                }
                .whenFailed { [self] in fail($0) }
        } catch {
            // Not inline: whoever made this has no chance yet to handle it.
            reactor.callLater(.zero) { [self] in fail(error) }
        }
    }

    /// Queues a copy of `bytes`.
    ///
    /// - Parameter bytes: Any number; borrowed for the call, and copied.
    public func write(_ bytes: RawSpan) {
        reactor.checkThread()
        guard isOpen, bytes.byteCount > 0 else { return }
        if producer.isOverLimit { return fail(ConnectionLoss.writeLimitExceeded) }
        filling += bytes
        producer.didQueue(byteCount: bytes.byteCount)
        proceed()
    }

    /// Queues a copy of `bytes`.
    ///
    /// - Parameter bytes: Any number; copied.
    public func write(_ bytes: Bytes) { write(bytes.span) }

    /// Registers a producer, to be paused and resumed.
    ///
    /// - Parameter producer: Paused while too much waits for the disk. A second one traps.
    public func registerProducer(_ producer: any PushProducer) {
        self.producer.register(producer, isOver: !isOpen)
    }

    /// Registers a producer, which is asked for one piece a turn while the disk keeps up.
    ///
    /// - Parameter producer: Asked on the reactor. A second one traps.
    public func registerProducer(_ producer: any PullProducer) {
        self.producer.register(producer, isOver: !isOpen)
    }

    /// The producer has finished.
    public func unregisterProducer() { producer.unregister() }

    /// Closes the file when everything was written.
    public func finishConsuming() {
        reactor.checkThread()
        guard isOpen else { return }
        state = .finishing(error: nil)
        proceed()
    }

    /// Closes the file when everything was written, and fails ``written``.
    ///
    /// - Parameter error: The failure of ``written``.
    public func abandonConsuming(because error: any Error) {
        reactor.checkThread()
        guard isOpen else { return }
        state = .finishing(error: error)
        proceed()
    }

    // MARK: The disk

    /// Hands the next piece to a thread, unless one has a piece.
    private func proceed() {
        guard !isWorking, let file else { return }
        guard filling.isEmpty else { return write(to: file) }
        switch state {
        case .open, .over: return
        case .finishing(let error): close(file, error)
        }
    }

    private func write(to file: any OpenFile) {
        isWorking = true
        let piece = filling
        filling = []
        let offset = Int64(position)
        reactor.deferToThread { try file.write(piece.span.bytes, at: offset) }
            .addCallback { [self] in
                isWorking = false
                position += piece.count
                producer.didSend(byteCount: piece.count)
                proceed()
            }
            .whenFailed { [self] in fail($0) }
    }

    private func close(_ file: any OpenFile, _ error: (any Error)?) {
        isWorking = true
        self.file = nil
        reactor.deferToThread { try file.close() }
            .addCallback { [self] in
                state = .over
                if let error { written.fail(error) } else { written.succeed(position) }
            }
            .whenFailed { [self] in fail($0) }
    }

    /// Drops what was not written.
    private func fail(_ error: any Error) {
        if case .over = state { return }
        state = .over
        filling = []
        file = nil
        producer.stop()
        if !(error is CancellationError) { written.fail(error) }
    }
}

extension FileConsumer: InvariantChecking {
    package func checkInvariants() {
        switch state {
        case .open:
            require(isWorking || filling.isEmpty, "FileConsumer: bytes wait, and no thread works")
        case .finishing:
            require(isWorking, "FileConsumer: its end waits for nothing")
        case .over:
            require(filling.isEmpty && file == nil, "FileConsumer: keeps something after its end")
            require(!written.isPending, "FileConsumer: its end was not told")
        }
    }
}
