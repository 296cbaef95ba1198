// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

internal import CTorsionSockets
internal import Glibc
@_spi(Backend) internal import TorsionCore

/// A connected or connecting stream socket.
///
/// Three facts of the kernel shape it. A peer's FIN makes a socket readable for ever, so that a
/// paused stream must not ask for reads. A reset is reported without being asked for, as an error;
/// so a paused stream stays registered for errors only. And when both directions have ended the
/// kernel reports a hang-up at each wait, which nobody can turn off: then a paused stream leaves the
/// poller until it reads again.
final class SocketStream: PollTarget {
    /// A full buffer means that there is likely more: take it while that is cheap, but let the
    /// others have their turn.
    private static let readsPerTurn = 16
    private static let writesPerTurn = 16

    let peerAddress: SocketAddress
    /// This end, where that is known without asking the kernel, and once it is closed.
    @exclusivity(unchecked) private var ownEnd: SocketAddress?

    // The backend outlives its streams: it is released after its last handle.
    private let backend: Unmanaged<SocketBackend>
    /// The backend's, here so that a read need not touch the backend.
    private let slab: UnsafeMutableRawPointer
    @exclusivity(unchecked) private var receiver: (any StreamReceiver)?
    @exclusivity(unchecked) private var phase: Phase
    @exclusivity(unchecked) private var isReading = false {
        didSet { isReadingPlainly = isReading && manner == .plain }
    }
    /// Nearly every stream reads without asking for descriptors or being one half of a pipe, and
    /// need not look whether it is.
    @exclusivity(unchecked) private var isReadingPlainly = false
    @exclusivity(unchecked) private var manner = ReadingManner.plain {
        didSet { isReadingPlainly = isReading && manner == .plain }
    }
    @exclusivity(unchecked) private var queue: WriteQueue?
    @exclusivity(unchecked) private var awaitsRoom = false
    /// The failure was reported, and the core still reads what had arrived before it.
    @exclusivity(unchecked) private var hasFailed = false
    /// What was read last is gone: nothing behind it may be delivered.
    @exclusivity(unchecked) private var isInputLost = false
    /// What the poller was asked for; nil while the descriptor is not registered.
    @exclusivity(unchecked) private var interest: PollEvents?

    /// Whether it connects from an address that the program chose.
    private let isBound: Bool

    /// Others have duplicates of the descriptor, so that closing ours ends nothing.
    private let isShared: Bool

    private enum Phase { case connecting, open, closed }

    /// How what arrives is taken.
    private enum ReadingManner {
        case plain, withDescriptors
        /// Into the process and out again, as long as it comes in small pieces.
        case copying
        /// By `splice(2)`: two calls a piece, as copying has, and more for each than for a short copy.
        case splicing
    }

    /// A socket that was accepted, or adopted.
    ///
    /// `own`: This end, if all that are accepted at a place have the same.
    init(
        backend: SocketBackend, accepted descriptor: Int32, from peer: SocketAddress,
        at own: SocketAddress? = nil, isShared: Bool = false
    ) {
        self.backend = .passUnretained(backend)
        ownEnd = own
        self.isShared = isShared
        isBound = true
        slab = backend.slab
        peerAddress = peer
        phase = .open
        super.init(descriptor: descriptor, callback: streamIsReady)
        backend.openHandleCount += 1
    }

    /// Begins to connect.
    init(
        backend: SocketBackend, connectingTo address: SocketAddress, options: StreamOptions,
        receiver: any StreamReceiver
    ) throws(IOError) {
        self.backend = .passUnretained(backend)
        isShared = false
        slab = backend.slab
        peerAddress = address
        phase = .connecting
        isBound = options.bindAddress != nil
        let subject = "\(address)"
        let descriptor = try connectingSocket(to: address, options)
        super.init(descriptor: descriptor, callback: streamIsReady)
        if let code = backend.poller.add(self, for: .writable) {
            Glibc.close(descriptor)
            throw IOError(.connect, function: "epoll_ctl", code: code, subject: subject)
        }
        interest = .writable
        self.receiver = receiver
        backend.openHandleCount += 1
    }

    @inline(__always)
    override final func ready(_ events: PollEvents) {
        // Nearly every event. A stream reads only while it is open.
        if events == .readable, isReadingPlainly { return read() }
        readyOtherwise(events)
    }

    @inline(never)
    private func readyOtherwise(_ events: PollEvents) {
        switch phase {
        case .open: break
        case .connecting: return finishConnecting()
        case .closed: return
        }
        if isReading, !events.isDisjoint(with: [.readable, .error, .hangUp, .disconnected]) {
            switch manner {
            case .plain: read()
            case .withDescriptors: readWithDescriptors()
            case .copying, .splicing: relay()
            }
        } else if !events.isDisjoint(with: [.error, .hangUp, .disconnected]) {
            checkError()
        }
        guard events.contains(.writable) else { return }
        if phase == .open, queue != nil { writeQueue() }
        if phase == .open, queue == nil, awaitsRoom { tellRoom() }
    }

    @inline(never)
    private func finishConnecting() {
        switch connectOutcome(of: descriptor, to: peerAddress, isBound: isBound) {
        case .failed(let code): return fail(code, "connect", .connect)
        case .connected(let own): ownEnd = own
        }
        phase = .open
        updateInterest()
        receiver?.streamDidConnect()
    }

    override func watchWasRefused(_ code: ErrorCode) {
        if phase == .open, interest == nil { fail(code, "epoll_ctl", .watch) }
    }

    /// The kernel reports an end that was not asked for: a reset, or both directions closed.
    @inline(never)
    private func checkError() {
        if let code = pendingError(of: descriptor) { return fail(code, "recv", .read) }
        if queue == nil { leavePoller() }
    }

    private func leavePoller() {
        guard interest != nil else { return }
        withBackend { $0.poller.remove(self) }
        interest = nil
    }

    @inline(never)
    private func fail(_ code: ErrorCode, _ function: String, _ operation: IOError.Operation) {
        let error = IOError(operation, function: function, code: code, subject: "\(peerAddress)")
        if phase == .open {
            // What has arrived can still be read; the kernel reports the hang-up at each wait.
            hasFailed = true
            queue = nil
            awaitsRoom = false
            if isInputLost { isReading = false }
            if !isReading { leavePoller() }
        }
        receiver?.streamDidFail(error)
    }

    // MARK: Reading

    @inline(__always)
    private func read() {
        let count = recv(descriptor, slab, SocketBackend.slabByteCount, 0)
        guard count > 0 else { return readFailed(count) }
        // Taken out and put back, which moves it: calling a stored reference would retain it first,
        // for all that a compiler can know of what the call does.
        guard let receiver = receiver.take() else { return }
        receiver.streamDidRead(UnsafeRawBufferPointer(start: slab, count: count).bytes)
        // Unless another has taken over meanwhile. Consumed either way, or it would be retained.
        guard self.receiver == nil else { return drop(consume receiver) }
        withUnsafeMutablePointer(to: &self.receiver) { $0.initialize(to: consume receiver) }
        if count == SocketBackend.slabByteCount || phase == .closed { readOn() }
    }

    /// Releases the receiver whose place another has taken.
    @inline(never)
    private func drop(_ former: consuming any StreamReceiver) {}

    /// A full buffer means that there is likely more.
    @inline(never)
    private func readOn() {
        guard phase != .closed else {
            receiver = nil
            return
        }
        for _ in 1..<Self.readsPerTurn where isReadingPlainly {
            let count = recv(descriptor, slab, SocketBackend.slabByteCount, 0)
            guard count > 0 else { return readFailed(count) }
            receiver?.streamDidRead(UnsafeRawBufferPointer(start: slab, count: count).bytes)
            if count < SocketBackend.slabByteCount { return }
        }
    }

    @inline(never)
    private func readWithDescriptors() {
        let limit = Int(TORSION_DESCRIPTOR_LIMIT)
        withUnsafeTemporaryAllocation(of: Int32.self, capacity: limit) { numbers in
            // A temporary allocation has an address.
            let room = numbers.baseAddress!
            for _ in 0..<Self.readsPerTurn where isReading && phase == .open {
                var found: Int32 = 0
                let count = torsion_receive_descriptors(
                    descriptor, slab, SocketBackend.slabByteCount, room, &found)
                guard count > 0 else { return readFailed(count) }
                guard found >= 0 else {
                    // Some are lost, and nobody could say which.
                    isInputLost = true
                    return fail(.tooManyOpenFiles, "recvmsg", .read)
                }
                let bytes = UnsafeRawBufferPointer(start: slab, count: count).bytes
                guard found > 0 else {
                    receiver?.streamDidRead(bytes)
                    if count < SocketBackend.slabByteCount { return }
                    continue
                }
                receiver?.streamDidRead(
                    bytes, carrying: PassedDescriptors(owning: numbers[..<Int(found)]))
            }
        }
    }

    /// Takes what has arrived to where the receiver wants it.
    @inline(never)
    private func relay() {
        for attempt in 0..<Self.readsPerTurn where isReading && phase == .open {
            let mayHaveMore =
                switch manner {
                case .copying: copyOn()
                case .splicing: spliceOn(isFirst: attempt == 0)
                // Another protocol took over.
                case .plain, .withDescriptors: false
                }
            guard mayHaveMore else { return }
        }
    }

    /// Moves once; what the target does not take is told.
    ///
    /// - Returns: Whether there may be more.
    private func spliceOn(isFirst: Bool) -> Bool {
        guard let target = receiver?.spliceTarget as? SocketStream,
            let channel = withBackend({ $0.splicePipe })
        else { return copyOn() }
        let limit = SocketBackend.slabByteCount
        switch channel.move(upTo: limit, from: descriptor, to: target.descriptor, rest: slab) {
        case .moved(let count, let restCount, let failure):
            if count + restCount < SplicePipe.worthwhileByteCount { manner = .copying }
            let rest = UnsafeRawBufferPointer(start: slab, count: restCount).bytes
            receiver?.streamDidSplice(byteCount: count, rest: rest, failure: failure)
            return true
        // An urgent byte stops it for ever, and looks like the end if that is behind it. A read
        // passes over it, and tells the one from the other.
        case .nothing: return isFirst && copyOn()
        case .ended: return copyOn()
        case .failed(let code):
            isInputLost = !channel.isUsable
            fail(code, "splice", .read)
            return false
        case .unsupported:
            manner = .plain
            return true
        }
    }

    /// Reads once; much at a time is worth moving otherwise.
    ///
    /// - Returns: Whether there may be more.
    private func copyOn() -> Bool {
        let count = recv(descriptor, slab, SocketBackend.slabByteCount, 0)
        guard count > 0 else {
            readFailed(count)
            return false
        }
        if manner == .copying, count >= SplicePipe.worthwhileByteCount { manner = .splicing }
        receiver?.streamDidRead(UnsafeRawBufferPointer(start: slab, count: count).bytes)
        return count == SocketBackend.slabByteCount
    }

    @inline(never)
    private func readFailed(_ result: Int) {
        let code = errno
        if result == 0 || hasFailed && code != EAGAIN && code != EINTR {
            isReading = false
            guard let receiver = receiver.take() else { return }
            receiver.streamDidReadEnd()
            if phase != .closed, self.receiver == nil {
                withUnsafeMutablePointer(to: &self.receiver) { $0.initialize(to: consume receiver) }
            }
            // Most streams are closed by now, and the poller need not hear of both.
            return updateInterest()
        }
        if code == EAGAIN || code == EINTR { return }
        fail(ErrorCode(errno: code), "recv", .read)
    }

    // MARK: Writing

    @inline(never)
    private func writeQueue() {
        for _ in 0..<Self.writesPerTurn {
            guard phase == .open, let queue, !queue.isEmpty else { break }
            let result = queue.withHead { runs in
                guard let passing = queue.headDescriptors else {
                    return sendVectors(descriptor, runs)
                }
                return sendVectors(descriptor, runs, passing: passing.numbers)
            }
            guard result > 0 else {
                if result == 0 || errno == EAGAIN || errno == EINTR { return }
                return fail(ErrorCode(errno: errno), "sendmsg", .write)
            }
            receiver?.streamDidWrite(byteCount: result)
        }
        if phase == .open, queue?.isEmpty ?? true {
            queue = nil
            updateInterest()
        }
    }

    @inline(never)
    private func tellRoom() {
        awaitsRoom = false
        receiver?.streamHasRoom()
        // Only now: who has more to send has asked again, and the poller need not hear of it.
        updateInterest()
    }

    // MARK: The poller

    private func updateInterest() {
        guard phase != .closed else { return }
        var wanted: PollEvents = isReading ? .readable : []
        if queue != nil || awaitsRoom { wanted.insert(.writable) }
        if wanted.isEmpty {
            if hasFailed { return leavePoller() }
            wanted = .errorsOnly
        }
        guard wanted != interest else { return }
        guard interest == nil else {
            interest = wanted
            return withBackend { $0.poller.update(self, for: wanted) }
        }
        // An open socket can always be watched; what can fail is the kernel's memory.
        if withBackend({ $0.watch(self, for: wanted) }) { interest = wanted }
    }

    private func leave() {
        precondition(phase != .closed, "BackendStream: closed twice")
        // The program may ask until it has heard of the loss, and after.
        if ownEnd == nil, phase == .open { ownEnd = knownAddress(of: descriptor) }
        phase = .closed
        withBackend { backend in
            if interest != nil {
                backend.poller.remove(self)
            } else {
                backend.forgetRefusal(of: self)
            }
            backend.openHandleCount -= 1
        }
        interest = nil
        isReading = false
        queue = nil
        awaitsRoom = false
        receiver = nil
    }

    /// Without a reference counted, as a property that is `unowned(unsafe)` would have it.
    @inline(__always)
    private func withBackend<Result>(_ body: (SocketBackend) -> Result) -> Result {
        backend._withUnsafeGuaranteedRef(body)
    }
}

/// Called by the poller, from C.
private func streamIsReady(_ target: UnsafeMutableRawPointer, _ events: Int32) {
    Unmanaged<SocketStream>.fromOpaque(target)._withUnsafeGuaranteedRef { stream in
        deliver(PollEvents(rawValue: UInt8(truncatingIfNeeded: events)), to: stream)
    }
}

/// A function of its own, with the stream as a parameter, for the sake of its price: the closure
/// that it is called from then vanishes, and the C function is a jump to here.
@inline(never)
private func deliver(_ events: PollEvents, to stream: SocketStream) { stream.ready(events) }

extension SocketStream: BackendStream {
    var localAddress: SocketAddress {
        if let ownEnd { return ownEnd }
        return phase == .closed ? .unix(.unnamed) : ownAddress(of: descriptor)
    }

    func deliver(to receiver: any StreamReceiver) { self.receiver = receiver }

    func startReading() {
        isReading = !isInputLost
        updateInterest()
    }

    func stopReading() {
        isReading = false
        updateInterest()
    }

    func tryWrite(_ bytes: UnsafeRawBufferPointer) -> WriteResult {
        let count = send(descriptor, bytes.baseAddress, bytes.count, sendFlags)
        return count >= 0 ? .wrote(count) : writeRefused()
    }

    func tryWrite(
        _ first: UnsafeRawBufferPointer, _ second: UnsafeRawBufferPointer
    ) -> WriteResult {
        let count = sendTwo(descriptor, first, second)
        return count >= 0 ? .wrote(count) : writeRefused()
    }

    @inline(never)
    private func writeRefused() -> WriteResult {
        // EINTR: nothing was taken; the queue takes it, and is sent when the poller says so.
        let code = errno
        return code == EAGAIN || code == EINTR ? .wrote(0) : .failed(ErrorCode(errno: code))
    }

    func startWriting(from queue: WriteQueue) {
        self.queue = queue
        updateInterest()
    }

    var passesDescriptors: Bool { if case .unix = peerAddress { true } else { false } }

    var peerCredentials: PeerCredentials? {
        // Its number may be another socket's when it is closed.
        guard phase != .closed else { return nil }
        var user: UInt32 = 0, group: UInt32 = 0
        let process = torsion_peer_credentials(descriptor, &user, &group)
        guard process >= 0 else { return nil }
        return PeerCredentials(processID: process, userID: user, groupID: group)
    }

    var lentDescriptor: Int32? { phase == .closed ? nil : descriptor }

    func socketOptions() throws(IOError) -> SocketOptions {
        try readSocketOptions(of: descriptor, at: peerAddress)
    }

    func setSocketOptions(_ options: SocketOptions) throws(IOError) {
        try changeSocketOptions(of: descriptor, at: peerAddress, to: options)
    }

    func receiveDescriptors(_ isWanted: Bool) {
        if isWanted {
            manner = .withDescriptors
        } else if manner == .withDescriptors {
            manner = .plain
        }
    }

    var spliceEntrance: (any BackendStream)? { self }

    func spliceInput(_ isWanted: Bool) {
        if isWanted { manner = .copying } else if manner != .withDescriptors { manner = .plain }
    }

    func duplicate(_ descriptors: [Int32]) throws(IOError) -> PassedDescriptors {
        var own: [Int32] = []
        for number in descriptors {
            let copy = fcntl(number, F_DUPFD_CLOEXEC, 0)
            guard copy >= 0 else {
                let error = lastError(.write, "fcntl", peerAddress)
                for number in own { Glibc.close(number) }
                throw error
            }
            own.append(copy)
        }
        return PassedDescriptors(owning: own[...])
    }

    func tryWrite(
        _ bytes: UnsafeRawBufferPointer, passing descriptors: PassedDescriptors
    ) -> WriteResult {
        let count = withUnsafePointer(to: bytes) { run in
            sendVectors(
                descriptor, UnsafeBufferPointer(start: run, count: 1), passing: descriptors.numbers)
        }
        return count >= 0 ? .wrote(count) : writeRefused()
    }

    func trySendFile(_ file: Int32, at offset: Int64, byteCount: Int) -> SendFileResult {
        sendFile(file, at: offset, byteCount: byteCount, to: descriptor)
    }

    func awaitRoom() {
        awaitsRoom = true
        updateInterest()
    }

    var hasUnreadInput: Bool { !isInputLost && torsion_unread_byte_count(descriptor) > 0 }

    func discardInput() { torsion_discard_input(descriptor) }

    var needsDraining: Bool { true }

    var unsentByteCount: Int? {
        let count = torsion_unsent_byte_count(descriptor)
        return count >= 0 ? Int(count) : nil
    }

    func shutdownWriting() -> ErrorCode? { shutDownWriting(descriptor) }

    func close() {
        leave()
        if isShared { _ = shutdown(descriptor, Int32(SHUT_RDWR)) }
        // Not repeated on EINTR: on Linux the descriptor is gone all the same.
        Glibc.close(descriptor)
    }

    func reset() {
        _ = torsion_set_abortive_close(descriptor)
        close()
    }
}

extension PassedDescriptors {
    /// Descriptors of this process, closed by `close(2)`.
    convenience init(owning numbers: some Sequence<Int32>) {
        self.init(Array(numbers)) { number in Glibc.close(number) }
    }
}
