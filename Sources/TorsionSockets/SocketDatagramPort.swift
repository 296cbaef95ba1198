// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

internal import CTorsionSockets
internal import Glibc
@_spi(Backend) internal import TorsionCore

/// A bound socket for datagrams.
///
/// Two facts of the kernel shape it. On a connected socket the answer that an earlier datagram met,
/// such as a refusal, is an error that any later call may be given, and that the poller reports
/// without being asked; so it is told also while nothing is received. And a UNIX socket that is
/// not connected can be writable while the queue of the one receiver is full: waiting for room
/// would spin, and keep all others waiting, so that datagram fails.
final class SocketDatagramPort: PollTarget {
    /// Full batches taken before others have their turn.
    private static let receivesPerTurn = 4

    private unowned(unsafe) let backend: SocketBackend
    private let slab: DatagramSlab
    private let isUnix: Bool
    /// The file of a UNIX socket, which goes with it.
    private let file: SocketFile?
    @exclusivity(unchecked) private var receiver: (any DatagramReceiver)?
    private(set) var peerAddress: SocketAddress?
    @exclusivity(unchecked) private var isOpen = true
    @exclusivity(unchecked) private var isReceiving = false
    @exclusivity(unchecked) private var isAwaitingRoom = false
    /// What the poller was asked for; nil while the descriptor is not registered.
    @exclusivity(unchecked) private var interest: PollEvents?
    /// UDP datagrams up to this size are sent as segments of one message, where that can be.
    @exclusivity(unchecked) private var longestSegment = Int.max
    /// What a batch had left when deliveries were stopped, oldest first.
    @exclusivity(unchecked) private var held: [(bytes: Bytes, address: SocketAddress)] = []

    init(
        backend: SocketBackend, address: SocketAddress, options: DatagramOptions
    ) throws(IOError) {
        self.backend = backend
        slab = backend.datagramSlab
        if case .unix = address { isUnix = true } else { isUnix = false }
        let descriptor = try makeSocket(SOCK_DGRAM, for: address, .listen)
        do throws(IOError) {
            try configure(descriptor, for: address, options, .listen)
            file = try bindForListening(descriptor, to: address, mode: options.unixMode)
        } catch {
            Glibc.close(descriptor)
            throw error
        }
        super.init(descriptor: descriptor)
        backend.openHandleCount += 1
        try connect(by: options)
    }

    /// A socket that somebody else made; its file, if it has one, is whoever's who made it.
    init(
        backend: SocketBackend, adopted descriptor: Int32, options: DatagramOptions
    ) throws(IOError) {
        self.backend = backend
        slab = backend.datagramSlab
        file = nil
        do throws(IOError) {
            let subject = "descriptor \(descriptor)"
            let address = try boundAddress(of: descriptor, .open, subject: subject)
            if case .unix = address { isUnix = true } else { isUnix = false }
            try configure(descriptor, for: address, options, .open)
        } catch {
            Glibc.close(descriptor)
            throw error
        }
        super.init(descriptor: descriptor)
        backend.openHandleCount += 1
        peerAddress = TorsionSockets.peerAddress(of: descriptor)
        try connect(by: options)
    }

    private func connect(by options: DatagramOptions) throws(IOError) {
        guard let peer = options.peerAddress else { return }
        do throws(IOError) { try connect(to: peer) } catch {
            close()
            throw error
        }
    }

    override func ready(_ events: PollEvents) {
        guard isOpen else { return }
        if isReceiving, !events.isDisjoint(with: [.readable, .error, .hangUp]) {
            if held.isEmpty { receive() } else { deliverHeld() }
        } else if !events.isDisjoint(with: [.error, .hangUp]) {
            checkError()
        }
        guard isOpen, isAwaitingRoom, events.contains(.writable) else { return }
        isAwaitingRoom = false
        updateInterest()
        receiver?.portCanSend()
    }

    // MARK: Receiving

    private func receive() {
        // What is held comes first.
        for _ in 0..<Self.receivesPerTurn where isReceiving && held.isEmpty {
            let count = slab.receive(from: descriptor)
            guard count > 0 else { return receiveFailed() }
            deliver(count)
            if count < DatagramSlab.receiveCount { return }
        }
    }

    private func deliver(_ count: Int) {
        var next = 0
        while next < count, isOpen {
            var end = next
            while end < count, !slab.isCut(end) { end += 1 }
            if next < end { next += deliver(slab.batch(next..<end)) }
            guard next == end else { return hold(next..<count) }
            guard next < count else { return }
            // Longer than its slot. Half a datagram is none.
            fail(.messageTooLong, from: slab.batch(next..<count)[0].address)
            next += 1
        }
    }

    private func deliver(_ batch: UnsafeBufferPointer<BorrowedDatagram>) -> Int {
        // Taken out and put back, which moves it: see `SocketStream.read`.
        guard let receiver = receiver.take() else { return 0 }
        let taken = receiver.portDidReceive(batch)
        if isOpen { self.receiver = consume receiver }
        return taken
    }

    /// Keeps what the receiver did not want any more.
    private func hold(_ range: Range<Int>) {
        guard isOpen else { return }
        for index in range where !slab.isCut(index) {
            let datagram = slab.batch(index..<(index + 1))[0]
            held.append((Bytes(datagram.bytes.bytes), datagram.address))
        }
        if isReceiving { backend.addAlwaysReady(self) }
    }

    private func deliverHeld() {
        while let first = held.first, isReceiving {
            let taken = first.bytes.withUnsafeBytes { bytes in
                var datagram = BorrowedDatagram(bytes: bytes, address: first.address)
                return withUnsafePointer(to: &datagram) {
                    deliver(UnsafeBufferPointer(start: $0, count: 1))
                }
            }
            if taken == 0 { return }
            // Closing has dropped them.
            if isOpen { held.removeFirst() }
        }
        if isOpen, held.isEmpty { backend.removeAlwaysReady(self) }
    }

    private func receiveFailed() {
        let code = errno
        if code == EAGAIN || code == EINTR { return }
        fail(ErrorCode(errno: code), from: peerAddress)
    }

    private func checkError() {
        let number = socketOption(descriptor, SOL_SOCKET, SO_ERROR)
        if number != 0 { fail(ErrorCode(errno: number), from: peerAddress) }
    }

    private func fail(_ code: ErrorCode, from address: SocketAddress?) {
        let subject = "\(address ?? localAddress)"
        receiver?.portDidFail(IOError(.read, function: "recvmmsg", code: code, subject: subject))
    }

    // MARK: The poller

    private func updateInterest() {
        var wanted: PollEvents = isReceiving ? .readable : []
        if isAwaitingRoom { wanted.insert(.writable) }
        if wanted.isEmpty { wanted = .errorsOnly }
        guard wanted != interest else { return }
        guard interest == nil else {
            interest = wanted
            return backend.poller.update(self, for: wanted)
        }
        // A socket can always be watched; what can fail is the kernel's memory. The next change of
        // what is waited for tries again.
        if backend.watch(self, for: wanted) { interest = wanted }
    }

    override func watchWasRefused(_ code: ErrorCode) { if isOpen { fail(code, from: nil) } }
}

extension SocketDatagramPort: BackendDatagramPort {
    var sharedDescriptor: Int32? { isOpen ? descriptor : nil }

    var localAddress: SocketAddress { isOpen ? ownAddress(of: descriptor) : .unix(.unnamed) }

    func deliver(to receiver: any DatagramReceiver) { self.receiver = receiver }

    func connect(to peer: SocketAddress) throws(IOError) {
        try check(peer, .connect, "connect")
        try beginConnecting(descriptor, to: peer)
        peerAddress = peer
    }

    func startReceiving() {
        guard !isReceiving else { return }
        isReceiving = true
        if !held.isEmpty { backend.addAlwaysReady(self) }
        updateInterest()
    }

    func stopReceiving() {
        isReceiving = false
        backend.removeAlwaysReady(self)
        updateInterest()
    }

    func trySend(_ datagrams: UnsafeBufferPointer<BorrowedDatagram>) -> DatagramSendResult {
        let isConnected = peerAddress != nil
        if !isConnected, let code = datagrams[0].address.refusal { return .failed(code) }
        let count = send(datagrams, isConnected: isConnected)
        return count > 0 ? .sent(count) : sendFailed(errno)
    }

    private func send(
        _ datagrams: UnsafeBufferPointer<BorrowedDatagram>, isConnected: Bool
    ) -> Int {
        let longest = isUnix ? 0 : longestSegment
        let count = slab.outgoing.send(
            datagrams, on: descriptor, isConnected: isConnected, longestSegment: longest)
        guard count < 0, errno == EIO || errno == EINVAL || errno == EMSGSIZE,
            slab.outgoing.hadSegments
        else { return count }
        // A path that cannot have segments (EIO, on some kernels EINVAL) or none so long (EINVAL,
        // EMSGSIZE), unless the error is the datagram's own: each goes by itself from now on.
        let shorter = datagrams[0].bytes.count - 1
        let retried = slab.outgoing.send(
            datagrams, on: descriptor, isConnected: isConnected, longestSegment: shorter)
        if retried > 0 { longestSegment = shorter }
        return retried
    }

    private func sendFailed(_ number: Int32) -> DatagramSendResult {
        guard number == EAGAIN || number == EINTR else { return .failed(ErrorCode(errno: number)) }
        let isReceiverFull = number == EAGAIN && isUnix && peerAddress == nil && isWritable
        return isReceiverFull ? .failed(.wouldBlock) : .sent(0)
    }

    /// `poll(2)`.
    private var isWritable: Bool {
        var asked = pollfd(fd: descriptor, events: Int16(POLLOUT), revents: 0)
        return poll(&asked, 1, 0) == 1 && asked.revents & Int16(POLLOUT) != 0
    }

    func awaitRoom() {
        isAwaitingRoom = true
        updateInterest()
    }

    func join(_ group: MulticastGroup) throws(IOError) {
        try TorsionSockets.join(group, on: descriptor)
    }

    func leave(_ group: MulticastGroup) throws(IOError) {
        try TorsionSockets.leave(group, on: descriptor)
    }

    func close() {
        precondition(isOpen, "BackendDatagramPort: closed twice")
        isOpen = false
        isReceiving = false
        if interest != nil { backend.poller.remove(self) }
        backend.forgetRefusal(of: self)
        backend.removeAlwaysReady(self)
        receiver = nil
        held = []
        file?.remove()
        Glibc.close(descriptor)
        backend.openHandleCount -= 1
    }
}
