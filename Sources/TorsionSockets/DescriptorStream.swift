// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

internal import CTorsionSockets
internal import Glibc
internal import TorsionCore

/// A stream over two descriptors that need not be sockets: a pipe, a terminal, a regular file.
///
/// A regular file cannot be polled and is always ready; each turn reads or writes one piece of it.
final class DescriptorStream {
    private unowned(unsafe) let backend: SocketBackend
    private var receiver: (any StreamReceiver)?
    private var input: Side!
    private var output: Side!
    private var isReading = false
    private var isOpen = true
    private var queue: WriteQueue?

    init(backend: SocketBackend, input: Int32, output: Int32) throws(IOError) {
        self.backend = backend
        // One descriptor can be registered only once, so each side has its own.
        let own = input == output ? fcntl(output, F_DUPFD_CLOEXEC, 0) : output
        self.input = try Side(stream: self, descriptor: input)
        do throws(IOError) {
            self.output = try Side(stream: self, descriptor: own)
        } catch {
            // The descriptors stay their owner's.
            self.input.restoreFlags()
            throw error
        }
        backend.openHandleCount += 1
    }

    /// One descriptor, as the poller sees it.
    private final class Side: PollTarget {
        private unowned(unsafe) let stream: DescriptorStream
        /// The descriptor's flags as they were found; others may share them.
        private let flags: Int32
        let isTerminal: Bool
        var interest: PollEvents?
        var isAlwaysReady = false
        var isOpen = true

        init(stream: DescriptorStream, descriptor: Int32) throws(IOError) {
            self.stream = stream
            flags = fcntl(descriptor, F_GETFL)
            isTerminal = isatty(descriptor) == 1
            super.init(descriptor: descriptor)
            guard flags >= 0, fcntl(descriptor, F_SETFL, flags | O_NONBLOCK) >= 0 else {
                throw IOError(
                    .open, function: "fcntl", code: ErrorCode(errno: errno),
                    subject: "descriptor \(descriptor)")
            }
        }

        override func ready(_ events: PollEvents) { stream.ready(self, events) }

        func watch(for wanted: PollEvents?, in backend: SocketBackend) -> ErrorCode? {
            guard isOpen, wanted != interest else { return nil }
            let previous = interest
            interest = wanted
            if isAlwaysReady {
                if previous != nil { backend.removeAlwaysReady(self) }
                if wanted != nil { backend.addAlwaysReady(self) }
                return nil
            }
            guard let wanted else {
                backend.poller.remove(self)
                return nil
            }
            guard previous == nil else {
                backend.poller.update(self, for: wanted)
                return nil
            }
            guard let code = backend.poller.add(self, for: wanted) else { return nil }
            // EPERM: a regular file, epoll_ctl(2).
            guard code == .notPermitted else { return code }
            isAlwaysReady = true
            backend.addAlwaysReady(self)
            return nil
        }

        func close(in backend: SocketBackend) {
            guard isOpen else { return }
            _ = watch(for: nil, in: backend)
            isOpen = false
            restoreFlags()
            if descriptor > 2 || !leaveStandardStream() { Glibc.close(descriptor) }
        }

        func restoreFlags() { _ = fcntl(descriptor, F_SETFL, flags) }

        /// Puts `/dev/null` in the place of a standard stream, whose number would else be given to
        /// the next socket: and then what anybody prints would go there.
        private func leaveStandardStream() -> Bool {
            let null = Glibc.open("/dev/null", O_RDWR | O_CLOEXEC)
            guard null >= 0 else { return false }
            defer { Glibc.close(null) }
            return dup2(null, descriptor) >= 0
        }
    }

    private func ready(_ side: Side, _ events: PollEvents) {
        guard isOpen, side.interest != nil else { return }
        if side === input {
            if isReading { readOnce() }
        } else if queue != nil {
            writeQueue()
        } else {
            // The reader of our pipe has gone.
            fail(.brokenPipe, "write", .write)
        }
    }

    private func readOnce() {
        let count = read(input.descriptor, backend.slab, SocketBackend.slabByteCount)
        if count > 0 {
            let bytes = UnsafeRawBufferPointer(start: backend.slab, count: count).bytes
            receiver?.streamDidRead(bytes)
        } else if count == 0 {
            stopReading()
            receiver?.streamDidReadEnd()
        } else if errno != EAGAIN, errno != EINTR {
            // A terminal whose other side has closed: pty(7).
            if errno == EIO {
                stopReading()
                receiver?.streamDidReadEnd()
            } else {
                fail(ErrorCode(errno: errno), "read", .read)
            }
        }
    }

    private func writeQueue() {
        guard let queue, !queue.isEmpty else { return }
        let result = queue.withHead { writeVectors(output.descriptor, $0) }
        guard result > 0 else {
            if result == 0 || errno == EAGAIN || errno == EINTR { return }
            return fail(ErrorCode(errno: errno), "writev", .write)
        }
        receiver?.streamDidWrite(byteCount: result)
        // The core may have filled it again, or exchanged it.
        if isOpen, self.queue?.isEmpty ?? true {
            self.queue = nil
            update(output, for: nil)
        }
    }

    private func update(_ side: Side, for wanted: PollEvents?) {
        guard isOpen, let code = side.watch(for: wanted, in: backend) else { return }
        fail(code, "epoll_ctl", .watch)
    }

    private func fail(_ code: ErrorCode, _ function: String, _ operation: IOError.Operation) {
        receiver?.streamDidFail(IOError(operation, function: function, code: code))
    }
}

extension DescriptorStream: BackendStream {
    var peerAddress: SocketAddress { .unix(.unnamed) }

    var localAddress: SocketAddress { .unix(.unnamed) }

    func deliver(to receiver: any StreamReceiver) { self.receiver = receiver }

    func startReading() {
        isReading = true
        update(input, for: .readable)
    }

    func stopReading() {
        isReading = false
        update(input, for: nil)
    }

    func tryWrite(
        _ first: UnsafeRawBufferPointer, _ second: UnsafeRawBufferPointer
    ) -> WriteResult {
        let count = withUnsafeTemporaryAllocation(of: UnsafeRawBufferPointer.self, capacity: 2) {
            $0.initializeElement(at: 0, to: first)
            $0.initializeElement(at: 1, to: second)
            return writeVectors(output.descriptor, UnsafeBufferPointer($0))
        }
        if count >= 0 { return .wrote(count) }
        if errno == EAGAIN || errno == EINTR { return .wrote(0) }
        return .failed(ErrorCode(errno: errno))
    }

    func startWriting(from queue: WriteQueue) {
        self.queue = queue
        update(output, for: .writable)
    }

    var needsDraining: Bool { false }

    /// What a serial line still has to send, which `close(2)` would wait for, for 30 seconds if need
    /// be: `TIOCOUTQ`.
    var unsentByteCount: Int? {
        guard output.isOpen, output.isTerminal else { return nil }
        let count = torsion_unsent_byte_count(output.descriptor)
        return count >= 0 ? Int(count) : nil
    }

    var owesOutput: Bool { unsentByteCount ?? 0 > 0 }

    func shutdownWriting() -> ErrorCode? {
        // A serial line has no end to send, and is closed when all has left.
        if !owesOutput { output.close(in: backend) }
        return nil
    }

    func close() {
        precondition(isOpen, "BackendStream: closed twice")
        if owesOutput { _ = tcflush(output.descriptor, Int32(TCOFLUSH)) }
        // In this order: the two may be one open file, as a terminal is, of which the output found
        // the flags that the input had set.
        output.close(in: backend)
        input.close(in: backend)
        isOpen = false
        receiver = nil
        queue = nil
        backend.openHandleCount -= 1
    }

    func reset() { close() }
}

/// `writev(2)`.
///
/// SIGPIPE is ignored by the backend's start.
private func writeVectors(
    _ descriptor: Int32, _ runs: UnsafeBufferPointer<UnsafeRawBufferPointer>
) -> Int {
    withUnsafeTemporaryAllocation(of: iovec.self, capacity: runs.count) { vectors in
        for index in 0..<runs.count { vectors.initializeElement(at: index, to: iovec(runs[index])) }
        return writev(descriptor, vectors.baseAddress, Int32(runs.count))
    }
}
