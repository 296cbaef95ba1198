// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

@_spi(Backend) internal import TorsionCore

/// A port for datagrams on a simulated host.
///
/// UDP as a program knows it: a datagram arrives whole or not at all, and, if the seed says so,
/// twice or after a later one. A UNIX socket's neither get lost nor change order; its receiver's
/// queue is short, and who is connected to it waits.
final class SimulatedDatagramPort: SimulatedHandle {
    private static let receivesPerBatch = 32
    private static let batchesPerTurn = 4
    /// What UDP over IPv4 carries at most: RFC 768, RFC 791.
    private static let byteLimit = 65_507
    /// `net.unix.max_dgram_qlen` of many machines.
    private static let unixQueueLimit = 32

    let boundAddress: SocketAddress
    let chances: Chances
    private let options: DatagramOptions
    private(set) var peerAddress: SocketAddress?
    private(set) var groups: [MulticastGroup] = []
    private var receiver: (any DatagramReceiver)?
    private var isOpen = true
    private var isReceiving = false
    private var isAwaitingRoom = false
    private var arrived: [Datagram] = []
    private var arrivedByteCount = 0
    private var countUnderWay = 0
    private var failures: [IOError] = []
    /// Who waits for room here.
    private var waiting: [SimulatedDatagramPort] = []

    init(
        backend: SimulatedBackend, address: SocketAddress, options: DatagramOptions
    ) throws(IOError) {
        let node = backend.node
        guard node.owns(address) || address.isMulticast else {
            throw IOError(.listen, function: "bind", code: .addressNotAvailable, subject: address)
        }
        let bound = node.withDatagramPort(address)
        let isShared = options.reuseAddress || options.reusePort
        if !isShared, node.datagramPorts.contains(where: { $0.boundAddress == bound }) {
            throw IOError(.listen, function: "bind", code: .addressInUse, subject: bound)
        }
        boundAddress = bound
        self.options = options
        chances = Chances(backend.network.nextPort(), .port)
        if let peer = options.peerAddress, !bound.isOfFamily(of: peer) {
            throw IOError(
                .connect, function: "connect", code: .addressFamilyNotSupported, subject: peer)
        }
        peerAddress = options.peerAddress
        super.init(backend: backend)
        node.datagramPorts.append(self)
    }

    private var network: SimulatedNetwork { backend.network }

    private var isUnix: Bool { if case .unix = boundAddress { true } else { false } }

    // MARK: Arriving

    /// Whether a UNIX sender finds room.
    var hasRoom: Bool { arrived.count + countUnderWay < Self.unixQueueLimit }

    func willArrive() { countUnderWay += 1 }

    /// Something was sent here, from this address.
    func arrive(_ datagram: Datagram) {
        countUnderWay -= 1
        guard isOpen, peerAddress == nil || peerAddress == datagram.address else { return }
        let limit = options.receiveBufferBytes ?? network.conditions.receiveBufferBytes
        // What finds a full buffer is dropped, as by the kernel.
        guard isUnix || arrivedByteCount + datagram.bytes.count <= max(limit, Self.byteLimit)
        else { return }
        arrived.append(datagram)
        arrivedByteCount += datagram.bytes.count
        becameReady()
    }

    /// What was sent to its peer met nobody.
    func refused() {
        guard isOpen, let peer = peerAddress else { return }
        failures.append(
            IOError(.read, function: "recvmmsg", code: .connectionRefused, subject: peer))
        becameReady()
    }

    func roomAppeared() { if isAwaitingRoom { becameReady() } }

    override func poll() {
        guard isOpen else { return }
        if strike(.late) != nil { return becameReady() }
        while isOpen, !failures.isEmpty { receiver?.portDidFail(failures.removeFirst()) }
        for _ in 0..<Self.batchesPerTurn where isReceiving && !arrived.isEmpty { deliverBatch() }
        if isAwaitingRoom {
            isAwaitingRoom = false
            receiver?.portCanSend()
        }
        if isReceiving, !arrived.isEmpty { becameReady() }
    }

    private func deliverBatch() {
        var count = min(arrived.count, Self.receivesPerBatch)
        if let word = strike(.cutRead) { count = 1 + Int(word % UInt64(count)) }
        let batch = Array(arrived[..<count])
        guard let receiver else { return }
        let taken = unsafe withBorrowed(batch) { unsafe receiver.portDidReceive($0) }
        guard isOpen else { return }
        for datagram in arrived[..<taken] { arrivedByteCount -= datagram.bytes.count }
        arrived.removeFirst(taken)
        let senders = waiting
        waiting = []
        for sender in senders { sender.roomAppeared() }
    }

    // MARK: Sending

    /// - Returns: Why it cannot be sent at all, nil if it is under way; false if there is no room.
    private func send(_ bytes: UnsafeRawBufferPointer, to address: SocketAddress) -> SendOutcome {
        guard boundAddress.isOfFamily(of: address) else {
            return .failed(address.isTooLong ? .nameTooLong : .addressFamilyNotSupported)
        }
        if address.isTooLong { return .failed(.nameTooLong) }
        guard isUnix || bytes.count <= Self.byteLimit else { return .failed(.messageTooLong) }
        guard !address.isBroadcast || options.allowsBroadcast else {
            return .failed(.accessDenied)
        }
        let targets = network.ports(at: address, from: backend.node)
        if isUnix {
            guard let target = targets.first else { return .failed(.connectionRefused) }
            guard target.hasRoom else {
                return peerAddress == nil ? .failed(.wouldBlock) : .noRoom
            }
        } else if strike(.fullBuffer) != nil {
            return .noRoom
        }
        let source = backend.node.source(of: boundAddress, to: address)
        let datagram = unsafe Datagram(Bytes(bytes.bytes), source)
        network.send(datagram, to: address, targets, from: self, isReliable: isUnix)
        return .sent
    }

    private enum SendOutcome { case sent, noRoom, failed(ErrorCode) }

    private func becameReadyLater() {
        let port = self
        let time = network.now.nanoseconds + network.conditions.turnCost.wholeNanoseconds
        network.schedule(.call { port.roomAppeared() }, at: time)
    }

    func strike(_ kind: Fault.Kind) -> UInt64? {
        network.strike(kind, chances, at: backend.node)
    }
}

extension SimulatedDatagramPort: BackendDatagramPort {
    var localAddress: SocketAddress { isOpen ? boundAddress : .unix(.unnamed) }

    func deliver(to receiver: any DatagramReceiver) { self.receiver = receiver }

    func connect(to peer: SocketAddress) throws(IOError) {
        guard boundAddress.isOfFamily(of: peer), !peer.isTooLong else {
            throw IOError(
                .connect, function: "connect", code: .addressFamilyNotSupported, subject: peer)
        }
        peerAddress = peer
    }

    func startReceiving() {
        isReceiving = true
        if !arrived.isEmpty { becameReady() }
    }

    func stopReceiving() { isReceiving = false }

    func trySend(_ datagrams: UnsafeBufferPointer<BorrowedDatagram>) -> DatagramSendResult {
        for index in 0..<datagrams.count {
            let datagram = unsafe datagrams[index]
            switch unsafe send(datagram.bytes, to: peerAddress ?? datagram.address) {
            case .sent: continue
            case .noRoom: return .sent(index)
            case .failed(let code): return index > 0 ? .sent(index) : .failed(code)
            }
        }
        return .sent(datagrams.count)
    }

    func awaitRoom() {
        isAwaitingRoom = true
        guard isUnix, let peerAddress,
            let target = network.ports(at: peerAddress, from: backend.node).first, !target.hasRoom
        else { return becameReadyLater() }
        target.waiting.append(self)
    }

    func join(_ group: MulticastGroup) throws(IOError) {
        if !groups.contains(group) { groups.append(group) }
    }

    func leave(_ group: MulticastGroup) throws(IOError) {
        guard let index = groups.firstIndex(of: group) else {
            throw IOError(
                .configure, function: "setsockopt", code: .addressNotAvailable,
                subject: "\(group)")
        }
        groups.remove(at: index)
    }

    func close() {
        precondition(isOpen, "BackendDatagramPort: closed twice")
        isOpen = false
        isReceiving = false
        receiver = nil
        arrived = []
        backend.openHandleCount -= 1
        backend.node.datagramPorts.removeAll { $0 === self }
        let senders = waiting
        waiting = []
        for sender in senders { sender.roomAppeared() }
    }
}
