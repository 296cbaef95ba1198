// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

internal import CTorsionSockets
internal import Glibc
@_spi(Backend) internal import TorsionCore

/// A stream over two descriptors that need not be sockets: a pipe, a terminal, a regular file.
///
/// A regular file cannot be polled and is always ready; each turn reads or writes one piece of it.
///
/// One of the two directions may be missing, as each is of a pipe. Without an output every write
/// fails. Without an input the stream waits for the reader of its output to go, which is its EOF.
final class DescriptorStream {
    private unowned(unsafe) let backend: SocketBackend
    private var receiver: (any StreamReceiver)?
    private var input: Side?
    private var output: Side?
    /// Reports EOF in the next turn, of a stream without an input whose output was closed.
    private var end: EndOfInput?
    private var isReading = false
    private var isOpen = true
    private var queue: WriteQueue?
    /// As they were given, for errors.
    private let inputNumber, outputNumber: Int32
    private let lender: Int32?
    package var name: String?

    /// `lender`: What both are duplicates of, if they are; others may share it.
    init(
        backend: SocketBackend, input: Int32, output: Int32, lender: Int32? = nil
    ) throws(IOError) {
        self.backend = backend
        inputNumber = input
        outputNumber = output
        self.lender = lender
        guard input >= 0 || output >= 0 else {
            throw IOError(.open, function: "", code: .badDescriptor, subject: "descriptor \(input)")
        }
        // One descriptor can be registered only once, so each side has its own.
        let isShared = input == output && input >= 0
        let other = isShared ? try secondNumber(of: output) : output
        do throws(IOError) {
            if input >= 0 {
                self.input = try Side(
                    stream: self, given: input, mode: O_RDONLY, lender: lender ?? input)
            }
            if other >= 0 {
                self.output = try Side(
                    stream: self, given: other, mode: O_WRONLY, lender: lender ?? output)
            }
        } catch {
            // The descriptors stay their owner's.
            self.input?.giveBack()
            if isShared { Glibc.close(other) }
            throw error
        }
        backend.openHandleCount += 1
    }

    /// What cannot be polled, since there is no descriptor any more.
    private final class EndOfInput: PollTarget {
        private unowned(unsafe) let stream: DescriptorStream

        init(of stream: DescriptorStream) {
            self.stream = stream
            super.init(descriptor: -1)
        }

        override func ready(_ events: PollEvents) { stream.outputWasClosed() }
    }

    /// One descriptor, as the poller sees it.
    ///
    /// What was given is often shared: a shell and its children have one open file for a terminal.
    /// If it did not block for one of them any more, the others would fail with EAGAIN, after our end
    /// too if that came by a signal or `exit(3)`. So a pipe or a terminal is opened once more.
    private final class Side: PollTarget {
        private unowned(unsafe) let stream: DescriptorStream
        /// The caller's descriptor, which ours stands for.
        private let given: Int32
        /// A socket is told with each call that it is not to block.
        let isSocket: Bool
        /// What is to be restored of one that could only be kept from blocking for all.
        private let flags: Int32?
        let isTerminal: Bool
        var interest: PollEvents?
        var isAlwaysReady = false
        var isOpen = true

        init(
            stream: DescriptorStream, given: Int32, mode: Int32, lender: Int32
        ) throws(IOError) {
            self.stream = stream
            self.given = given
            try checkUse(of: given, for: mode, calling: lender)
            isTerminal = isatty(given) == 1
            isSocket = integerOption(given, SOL_SOCKET, SO_TYPE) != nil
            let isUsable = isSocket || isOwnAndNonblocking(lender)
            let own = isUsable ? -1 : torsion_reopen(given, mode)
            flags = isUsable || own >= 0 ? nil : fcntl(given, F_GETFL)
            super.init(descriptor: own >= 0 ? own : given)
            guard let flags else { return }
            guard flags >= 0, fcntl(given, F_SETFL, flags | O_NONBLOCK) >= 0 else {
                throw IOError(
                    .open, function: "fcntl", code: ErrorCode(errno: errno),
                    subject: "descriptor \(lender)")
            }
        }

        override func ready(_ events: PollEvents) { stream.ready(self, events) }

        override func watchWasRefused(_ code: ErrorCode) { stream.watchWasRefused(code) }

        func watch(for wanted: PollEvents?, in backend: SocketBackend) -> ErrorCode? {
            guard isOpen, wanted != interest else { return nil }
            let isRegistered = interest != nil
            if isAlwaysReady {
                if isUse(interest) { backend.removeAlwaysReady(self) }
                if isUse(wanted) { backend.addAlwaysReady(self) }
            } else if let wanted, isRegistered {
                backend.poller.update(self, for: wanted)
            } else if let wanted, let code = backend.poller.add(self, for: wanted) {
                // EPERM: a regular file, epoll_ctl(2).
                guard code == .notPermitted else { return code }
                isAlwaysReady = true
                if isUse(wanted) { backend.addAlwaysReady(self) }
            } else if wanted == nil {
                backend.poller.remove(self)
            }
            interest = wanted
            return nil
        }

        /// A file has no reader that could go.
        private func isUse(_ events: PollEvents?) -> Bool { events != nil && events != .errorsOnly }

        func close(in backend: SocketBackend) {
            guard isOpen else { return }
            backend.forgetRefusal(of: self)
            _ = watch(for: nil, in: backend)
            isOpen = false
            giveBack()
            if given > 2 || !leaveStandardStream() { Glibc.close(given) }
        }

        /// `read(2)`, or `recv(2)`.
        func read(_ start: UnsafeMutableRawPointer, _ limit: Int) -> Int {
            isSocket
                ? recv(descriptor, start, limit, Int32(MSG_DONTWAIT))
                : Glibc.read(descriptor, start, limit)
        }

        /// `writev(2)`, or `sendmsg(2)`.
        func write(_ runs: UnsafeBufferPointer<UnsafeRawBufferPointer>) -> Int {
            isSocket
                ? sendVectors(descriptor, runs, flags: Int32(MSG_DONTWAIT))
                : writeVectors(descriptor, runs)
        }

        /// Leaves what was given as it was found.
        func giveBack() {
            if let flags { _ = fcntl(given, F_SETFL, flags) }
            if descriptor != given { Glibc.close(descriptor) }
        }

        /// Puts `/dev/null` in the place of a standard stream, whose number would else be given to
        /// the next socket: and then what anybody prints would go there.
        private func leaveStandardStream() -> Bool {
            let null = Glibc.open("/dev/null", O_RDWR | O_CLOEXEC)
            guard null >= 0 else { return false }
            defer { Glibc.close(null) }
            return dup2(null, given) >= 0
        }
    }

    private func ready(_ side: Side, _ events: PollEvents) {
        guard isOpen, side.interest != nil else { return }
        if side === input {
            if isReading { readOnce(side) }
        } else if queue != nil {
            writeQueue(to: side)
        } else if input == nil, isReading {
            isReading = false
            update(side, for: nil)
            receiver?.streamDidReadEnd()
        } else {
            // The reader of our pipe has gone.
            fail(.brokenPipe, "write", .write)
        }
    }

    /// What a stream without an input is watched for, as long as nothing is queued.
    private var idleInterest: PollEvents? { input == nil ? .errorsOnly : nil }

    private func outputWasClosed() {
        removeEnd()
        guard isOpen, isReading else { return }
        isReading = false
        receiver?.streamDidReadEnd()
    }

    private func awaitEnd() {
        guard end == nil else { return }
        let target = EndOfInput(of: self)
        end = target
        backend.addAlwaysReady(target)
    }

    private func removeEnd() { if let end = end.take() { backend.removeAlwaysReady(end) } }

    private func readOnce(_ input: Side) {
        let count = input.read(backend.slab, SocketBackend.slabByteCount)
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

    private func writeQueue(to output: Side) {
        guard let queue, !queue.isEmpty else { return }
        let result = queue.withHead { output.write($0) }
        guard result > 0 else {
            if result == 0 || errno == EAGAIN || errno == EINTR { return }
            return fail(ErrorCode(errno: errno), "writev", .write)
        }
        receiver?.streamDidWrite(byteCount: result)
        // The core may have filled it again, or exchanged it.
        if isOpen, self.queue?.isEmpty ?? true {
            self.queue = nil
            update(output, for: idleInterest)
        }
    }

    private func update(_ side: Side, for wanted: PollEvents?) {
        guard isOpen else { return }
        backend.forgetRefusal(of: side)
        if let code = side.watch(for: wanted, in: backend) { backend.refuse(side, code) }
    }

    private func watchWasRefused(_ code: ErrorCode) {
        if isOpen { fail(code, "epoll_ctl", .watch) }
    }

    private func fail(_ code: ErrorCode, _ function: String, _ operation: IOError.Operation) {
        receiver?.streamDidFail(IOError(operation, function: function, code: code))
    }
}

/// A stream that goes by a name which whoever opened it knows.
package protocol NamedStream: AnyObject {
    /// What its addresses and errors say; nil for what it makes of its numbers.
    var name: String? { get set }
}

extension DescriptorStream: NamedStream {}

extension DescriptorStream: BackendStream {
    var lentDescriptor: Int32? {
        if let input, input.isOpen { return input.descriptor }
        guard let output, output.isOpen else { return nil }
        return output.descriptor
    }

    var peerAddress: SocketAddress { .descriptor(name ?? givenName) }

    var localAddress: SocketAddress { peerAddress }

    /// As an endpoint's text, with what one descriptor is.
    private var givenName: String {
        if let lender { return "fd:\(lender) (\(kind(of: lender)))" }
        return switch (inputNumber, outputNumber) {
        case (0, 1): "stdio:"
        case (let input, ..<0): "pipe:input=\(input)"
        case (..<0, let output): "pipe:output=\(output)"
        case (let input, let output): "pipe:\(input):\(output)"
        }
    }

    func subject(of operation: IOError.Operation) -> String? {
        guard name == nil, lender == nil else { return nil }
        return switch operation == .write ? outputNumber : inputNumber {
        case ..<0: nil
        case 0: "standard input"
        case 1: "standard output"
        case 2: "standard error"
        case let number: "descriptor \(number)"
        }
    }

    func deliver(to receiver: any StreamReceiver) { self.receiver = receiver }

    func startReading() {
        isReading = true
        if let input { update(input, for: .readable) } else { watchReader() }
    }

    func stopReading() {
        isReading = false
        if let input { update(input, for: nil) } else { watchReader() }
    }

    /// Of an output alone.
    private func watchReader() {
        guard let output, queue == nil else { return }
        if output.isOpen { update(output, for: .errorsOnly) } else if isReading { awaitEnd() }
    }

    func tryWrite(
        _ first: UnsafeRawBufferPointer, _ second: UnsafeRawBufferPointer
    ) -> WriteResult {
        guard let output, output.isOpen else { return .failed(.brokenPipe) }
        let count = withUnsafeTemporaryAllocation(of: UnsafeRawBufferPointer.self, capacity: 2) {
            $0.initializeElement(at: 0, to: first)
            $0.initializeElement(at: 1, to: second)
            return output.write(UnsafeBufferPointer($0))
        }
        if count >= 0 { return .wrote(count) }
        if errno == EAGAIN || errno == EINTR { return .wrote(0) }
        return .failed(ErrorCode(errno: errno))
    }

    func startWriting(from queue: WriteQueue) {
        guard let output else { return }
        self.queue = queue
        update(output, for: .writable)
    }

    /// The reader of the output may go before all that it wrote has been read here, as a program does
    /// that needs nothing of its input.
    var hasUnreadInput: Bool {
        guard let input, input.isOpen else { return false }
        return torsion_unread_byte_count(input.descriptor) > 0
    }

    var needsDraining: Bool { false }

    /// What a serial line still has to send, which `close(2)` would wait for, for 30 seconds if need
    /// be: `TIOCOUTQ`.
    var unsentByteCount: Int? {
        guard let output, output.isOpen, output.isTerminal else { return nil }
        let count = torsion_unsent_byte_count(output.descriptor)
        return count >= 0 ? Int(count) : nil
    }

    var hasUnsentOutput: Bool { unsentByteCount ?? 0 > 0 }

    func shutdownWriting() -> ErrorCode? {
        // A serial line has no end to send, and is closed when all has left.
        guard let output, !hasUnsentOutput else { return nil }
        output.close(in: backend)
        if input == nil { watchReader() }
        return nil
    }

    func close() {
        precondition(isOpen, "BackendStream: closed twice")
        if hasUnsentOutput, let output { _ = tcflush(output.descriptor, Int32(TCOFLUSH)) }
        // In this order: the two may be one open file, as a terminal is, of which the output found
        // the flags that the input had set.
        output?.close(in: backend)
        input?.close(in: backend)
        removeEnd()
        isOpen = false
        receiver = nil
        queue = nil
        backend.openHandleCount -= 1
    }

    func reset() { close() }
}

/// Whether a descriptor does not block, and was made in this process.
///
/// Then its open file is not shared with a process that could change that: what a parent leaves open
/// is not closed on exec.
private func isOwnAndNonblocking(_ descriptor: Int32) -> Bool {
    let (status, flags) = (fcntl(descriptor, F_GETFL), fcntl(descriptor, F_GETFD))
    return status >= 0 && flags >= 0 && status & O_NONBLOCK != 0 && flags & FD_CLOEXEC != 0
}

/// Throws for what can never be read, or written to, as it is wanted.
///
/// `name`: What the caller calls it.
private func checkUse(of descriptor: Int32, for mode: Int32, calling name: Int32) throws(IOError) {
    func refusal(_ function: String, _ code: ErrorCode, _ addition: String = "") -> IOError {
        IOError(.open, function: function, code: code, subject: "descriptor \(name)\(addition)")
    }
    let flags = fcntl(descriptor, F_GETFL)
    guard flags >= 0 else { throw refusal("fcntl", ErrorCode(errno: errno)) }
    let access = flags & O_ACCMODE
    guard access == O_RDWR || access == mode else {
        let use = mode == O_RDONLY ? "reading" : "writing"
        throw refusal("", .badDescriptor, ", which is not open for \(use)")
    }
    var status = stat()
    guard fstat(descriptor, &status) == 0 else {
        throw refusal("fstat", ErrorCode(errno: errno))
    }
    if status.st_mode & S_IFMT == S_IFDIR { throw refusal("", .isDirectory) }
}

extension SocketBackend {
    /// A stream over a duplicate of what is no socket, in the directions that it is open for.
    func adoptFile(_ descriptor: Int32) throws(IOError) -> any BackendStream {
        let flags = fcntl(descriptor, F_GETFL)
        let own = flags >= 0 ? try secondNumber(of: descriptor) : -1
        let access = flags & O_ACCMODE
        do throws(IOError) {
            return try DescriptorStream(
                backend: self, input: access == O_WRONLY ? -1 : own,
                output: access == O_RDONLY ? -1 : own, lender: descriptor)
        } catch {
            if own >= 0 { Glibc.close(own) }
            throw error
        }
    }
}

/// What a descriptor is open for, in a word.
private func kind(of descriptor: Int32) -> String {
    var status = stat()
    guard fstat(descriptor, &status) == 0 else { return "closed" }
    return switch status.st_mode & S_IFMT {
    case S_IFIFO: "a pipe"
    case S_IFREG: "a file"
    case S_IFCHR: isatty(descriptor) == 1 ? "a terminal" : "a device"
    case S_IFBLK: "a device"
    case S_IFSOCK: "a socket"
    default: "neither a pipe, a terminal nor a file"
    }
}

/// Whether a descriptor is open, and no socket.
func isFile(_ descriptor: Int32) -> Bool {
    integerOption(descriptor, SOL_SOCKET, SO_TYPE) == nil && errno == ENOTSOCK
}

/// Another number for a descriptor that serves as input and as output.
private func secondNumber(of descriptor: Int32) throws(IOError) -> Int32 {
    let own = fcntl(descriptor, F_DUPFD_CLOEXEC, 3)
    if own >= 0 { return own }
    throw IOError(
        .open, function: "fcntl", code: ErrorCode(errno: errno),
        subject: "descriptor \(descriptor)")
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
