// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

/// A file, or a part of it, for ``ByteSource/pipe(to:)``.
///
///     FileProducer(path: "/srv/big.iso", on: reactor).pipe(to: transport)
///         .addCallback { count in print("\(count) bytes") }
///         .whenFailed { error in print("\(error)") }
///
/// To a plain socket the bytes go by `sendfile(2)`, without passing through the process; to a
/// connection with a filter, and to any other consumer, in pieces that worker threads read. Disks are
/// never waited for on the reactor's thread. A file that is shorter than it was, or than was asked for, fails the pipe with
/// ``ErrorCode/endOfFile``, and aborts a transport: the peer must not take a part for the whole.
///
/// - SeeAlso: Twisted `twisted.protocols.basic.FileSender`.
public final class FileProducer: ByteSource {
    private let path: String
    private let file: (any OpenFile)?
    private let offset: Int64
    private let byteCount: Int64?
    private let reactor: Reactor
    private let progress: ((_ sent: Int64, _ whole: Int64) -> Void)?

    /// A part of a file that is open for reading.
    ///
    /// - Parameters:
    ///   - file: The file; only this producer reads it meanwhile.
    ///   - path: Names it in errors.
    ///   - offset: The first byte that is sent.
    ///   - byteCount: How many are sent.
    ///   - reactor: Whose worker threads read.
    /// - Precondition: Neither number is negative.
    public init(
        file: any OpenFile, path: String, offset: Int64, byteCount: Int64, on reactor: Reactor
    ) {
        require(
            offset >= 0 && byteCount >= 0,
            "FileProducer: need offset and byteCount >= 0, got \(offset) and \(byteCount)")
        self.path = path
        self.file = file
        self.offset = offset
        self.byteCount = byteCount
        self.reactor = reactor
        progress = nil
    }

    /// A regular file, which is opened when the pipe begins.
    ///
    /// - Parameters:
    ///   - path: The file.
    ///   - offset: The first byte that is sent.
    ///   - byteCount: How many are sent; nil for all that there are when the file is opened.
    ///   - reactor: Whose worker threads read.
    ///   - progress: Called on the reactor after each piece was written, with how many bytes were
    ///     sent and how many there are in all.
    /// - Precondition: Neither number is negative.
    public init(
        path: String, offset: Int64 = 0, byteCount: Int64? = nil, on reactor: Reactor,
        progress: ((_ sent: Int64, _ whole: Int64) -> Void)? = nil
    ) {
        require(
            offset >= 0 && byteCount ?? 0 >= 0,
            "FileProducer: need offset and byteCount >= 0, got \(offset) and \(byteCount ?? 0)")
        self.path = path
        file = nil
        self.offset = offset
        self.byteCount = byteCount
        self.reactor = reactor
        self.progress = progress
    }

    /// Opens the file and sends it.
    ///
    /// - Parameter consumer: Written to on the reactor.
    /// - Returns: A Deferred for the number of bytes that were sent. It fails with an ``IOError``
    ///   that names the path, or as ``ByteSource/pipe(to:)``.
    @discardableResult
    public func pipe(to consumer: any Consumer) -> Deferred<Int> {
        let transfer = FileTransfer(
            of: path, from: offset, byteCount: byteCount, to: consumer, on: reactor, progress)
        return transfer.begin(file)
    }
}

// `sendfile(2)` waits for the disk if the file's pages are not in memory, whatever the socket says.
// So it is only called for pages that were just seen there, by `cachestat(2)`; what is not there a
// worker thread reads first, which brings it in. Of two megabytes it takes half a microsecond where
// the kernel keeps them in large pieces, as it does what was read or written in sequence, twenty
// where each page is by itself: the price of a page, not of a call. Asking for more at once would
// save nothing then, keep the reactor longer, and trust an older answer.
// In between the kernel could drop a page again: then one call waits for that page, as it does for
// one that another process's read has just asked the disk for. Having the
// threads call `sendfile` instead would close that gap, but costs a hand-over for each time that the
// socket is full, and a descriptor that the reactor may not close meanwhile.

/// One file on its way to one consumer.
final class FileTransfer: FileSource {
    /// What is looked for in memory, or brought there, in one step.
    private static let windowByteCount: Int64 = 2 << 20
    /// How far ahead of what was sent that is done.
    private static let aheadByteCount: Int64 = 4 << 20
    /// More in one go would keep the reactor from its other connections.
    private static let byteCountPerTurn: Int64 = 256 << 10
    /// A piece that a thread reads.
    private static let pieceByteCount: Int64 = 256 << 10

    private let path: String
    private let wanted: Int64?
    private let consumer: any Consumer
    private let reactor: Reactor
    private let progress: ((Int64, Int64) -> Void)?
    private var result: Deferred<Int>?

    private let start: Int64
    private var position: Int64
    private var end: Int64 = 0
    /// Up to here the file was seen in memory.
    private var fetchedEnd: Int64
    private var isFetching = false
    private var isPaused = false
    private var state = State.opening

    private enum State {
        case opening
        /// By `sendfile`; waits for room if `isFull`.
        case sending(any OpenFile, any FileSendingConsumer, isFull: Bool)
        /// By pieces; a thread has the next one if `isReading`.
        case reading(any OpenFile, isReading: Bool)
        case over
    }

    init(
        of path: String, from offset: Int64, byteCount: Int64?, to consumer: any Consumer,
        on reactor: Reactor, _ progress: ((Int64, Int64) -> Void)?
    ) {
        self.path = path
        wanted = byteCount
        start = offset
        position = offset
        fetchedEnd = offset
        self.consumer = consumer
        self.reactor = reactor
        self.progress = progress
    }

    /// - Parameter file: The file if it is open already.
    /// - Returns: Fires at the end.
    func begin(_ file: (any OpenFile)?) -> Deferred<Int> {
        let result = Deferred<Int>(on: reactor) { [weak self] _ in self?.cancel() }
        self.result = result
        // Before the file is open, so that a consumer that is closed meanwhile waits for it.
        consumer.registerProducer(self)
        guard self.result != nil else { return result }
        if let file {
            // As much as was asked for; less shows when it is read.
            opened(file, start.addingReportingOverflow(wanted ?? 0).partialValue)
            return result
        }
        do {
            let files = try reactor.files
            let path = path
            reactor.deferToThread { () throws -> (any OpenFile, Int64) in
                let file = try files.open(path, for: .reading)
                return (file, try file.byteCount())
            }.addCallback { [self] file, byteCount in
                opened(file, byteCount)
            }.whenFailed { [self] in fail($0) }
        } catch {
            fail(error)
        }
        return result
    }

    private func opened(_ file: any OpenFile, _ byteCount: Int64) {
        guard case .opening = state else { return }
        end = wanted.map { start.addingReportingOverflow($0).partialValue } ?? max(start, byteCount)
        guard start <= end, end <= byteCount || wanted == nil, start <= byteCount else {
            return failShort()
        }
        if let sender = consumer as? any FileSendingConsumer {
            state = .sending(file, sender, isFull: false)
        } else {
            state = .reading(file, isReading: false)
        }
        proceed()
    }

    // MARK: Steps

    private func proceed() {
        switch state {
        case .opening, .over: return
        case .sending(_, _, isFull: true), .reading(_, isReading: true): return
        case .sending, .reading: break
        }
        if position == end { return finish() }
        switch state {
        case .sending(let file, let sender, _): send(file, by: sender)
        case .reading(let file, _): if !isPaused { read(file) }
        case .opening, .over: return
        }
    }

    private func reportProgress() { progress?(position - start, end - start) }

    private func send(_ file: any OpenFile, by sender: any FileSendingConsumer) {
        fetchAhead(file)
        let count = min(fetchedEnd - position, Self.byteCountPerTurn)
        // Else the disk has it, and goes on here when it is done.
        guard count > 0, case .sending = state else { return }
        switch sender.sendFile(file.descriptor, at: position, byteCount: Int(count)) {
        case .sent(let count):
            position += Int64(count)
            reportProgress()
            waitForRoom(file, sender)
        case .full: waitForRoom(file, sender)
        case .fileEnded: failShort()
        case .fileFailed(let code):
            fail(IOError(.read, function: "sendfile", code: code, subject: path))
        case .unsupported:
            guard case .sending = state else { return }
            state = .reading(file, isReading: false)
            proceed()
        case .streamFailed:
            // The consumer tells by `stopProducing`.
            break
        }
    }

    private func waitForRoom(_ file: any OpenFile, _ sender: any FileSendingConsumer) {
        guard case .sending = state else { return }
        if position == end { return finish() }
        state = .sending(file, sender, isFull: true)
        sender.awaitRoom()
    }

    /// The consumer has room again.
    func roomAppeared() {
        guard case .sending(let file, let sender, isFull: true) = state else { return }
        state = .sending(file, sender, isFull: false)
        proceed()
    }

    /// Looks for what comes next in memory, and has a thread fetch what is not there.
    private func fetchAhead(_ file: any OpenFile) {
        while !isFetching, fetchedEnd < end, fetchedEnd - position < Self.aheadByteCount / 2 {
            let next = fetchedEnd..<min(end, fetchedEnd + Self.windowByteCount)
            guard !file.isCached(next) else {
                fetchedEnd = next.upperBound
                continue
            }
            isFetching = true
            reactor.deferToThread { try file.fetch(next) }
                .addCallback { [self] in
                    isFetching = false
                    fetchedEnd = next.upperBound
                    proceed()
                }
                .whenFailed { [self] in fail($0) }
        }
    }

    private func read(_ file: any OpenFile) {
        state = .reading(file, isReading: true)
        let offset = position
        let limit = Int(min(end - position, Self.pieceByteCount))
        reactor.deferToThread { try file.read(at: offset, limit: limit) }
            .addCallback { [self] piece in
                guard case .reading = state else { return }
                guard !piece.isEmpty else { return failShort() }
                state = .reading(file, isReading: false)
                // Before the write, inside of which a consumer may ask for the next piece.
                position += Int64(piece.count)
                consumer.write(piece)
                reportProgress()
                proceed()
            }
            .whenFailed { [self] in fail($0) }
    }

    // MARK: The end

    private func finish() {
        guard let result = leave() else { return }
        consumer.unregisterProducer()
        consumer.finishConsuming()
        result.succeed(Int(position - start))
    }

    private func fail(_ error: any Error) {
        guard let result = leave() else { return }
        consumer.unregisterProducer()
        consumer.abandonConsuming(because: error)
        result.fail(error)
    }

    private func failShort() {
        fail(IOError(.read, function: "", code: .endOfFile, subject: path))
    }

    private func cancel() {
        guard leave() != nil else { return }
        consumer.unregisterProducer()
        consumer.abandonConsuming(because: CancellationError())
    }

    /// Lets go of the file; what a thread still has keeps it open until it returns.
    private func leave() -> Deferred<Int>? {
        state = .over
        return result.take()
    }

    func pauseProducing() { isPaused = true }

    func resumeProducing() {
        isPaused = false
        proceed()
    }

    func stopProducing() {
        leave()?.fail(PipeBroken(byteCount: Int(position - start), to: consumer))
    }
}

/// A consumer that can take bytes from a file without their passing through the process.
package protocol FileSendingConsumer: AnyObject {
    /// Sends from a file as much as the kernel takes now, behind everything written before.
    func sendFile(_ descriptor: Int32, at offset: Int64, byteCount: Int) -> SendFileResult

    /// Has the registered ``FileSource`` told when everything written has left and there is room.
    func awaitRoom()
}

/// A producer of what lies in a file: one that is registered for a file, by itself or in its place by a
/// consumer that wraps another, as a body in chunks does.
package protocol FileSource: PushProducer {
    /// The consumer has room again, as ``FileSendingConsumer/awaitRoom()`` asked.
    func roomAppeared()
}

extension FileTransfer: InvariantChecking {
    func checkInvariants() {
        require(result != nil, "FileTransfer: produces after its end")
        switch state {
        case .sending(_, _, isFull: false):
            require(isFetching, "FileTransfer: neither the socket nor the disk is waited for")
        case .reading(_, isReading: false):
            require(isPaused, "FileTransfer: neither the consumer nor the disk is waited for")
        case .over:
            mistake("FileTransfer: produces after its end")
        case .opening, .sending, .reading: break
        }
    }
}
