// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

/// The engine's transport for datagrams: a port, over a backend's.
///
/// Datagrams that arrive together are one event, and the writes of an event are one batch: the port
/// is on the reactor's flush list while it has something to send. Errors of a batch are reported in
/// a later turn, since a full batch also leaves in the middle of a callback.
///
/// - SeeAlso: Twisted `twisted.internet.udp.Port`.
public final class DatagramPort: DatagramTransport {
    /// Larger ones are not worth a copy: they leave at once, and their errors are thrown.
    private static let directByteCount = 16 * 1024
    /// So many that were coalesced leave before the event ends.
    private static let batchCount = 64
    /// How often a datagram is tried again that may have met an answer to an earlier one.
    private static let retryCount = 3

    /// The reactor that this port belongs to.
    public let reactor: Reactor

    /// Where it is bound, with the port that the kernel chose; also after it has closed.
    @exclusivity(unchecked) public private(set) var localAddress: SocketAddress

    /// The only peer, if the port is connected.
    @exclusivity(unchecked) public private(set) var peerAddress: SocketAddress?

    private let port: any BackendDatagramPort
    @exclusivity(unchecked) private var proto: (any DatagramProtocol)?
    @exclusivity(unchecked) private var queue: DatagramQueue
    @exclusivity(unchecked) private var counters = DatagramStatistics()
    @exclusivity(unchecked) private var isOpen = true
    @exclusivity(unchecked) private var isPaused = false
    @exclusivity(unchecked) private var isAwaitingRoom = false
    @exclusivity(unchecked) private var isOnFlushList = false
    /// What went wrong in batches, until it is told.
    private var failures: [IOError] = []
    private var telling: DelayedCall?
    private var slot: Int32 = -1

    init(
        reactor: Reactor, port: any BackendDatagramPort, proto: any DatagramProtocol,
        options: DatagramOptions
    ) {
        self.reactor = reactor
        self.port = port
        self.proto = proto
        queue = DatagramQueue(capacity: options.queueLimitBytes)
        localAddress = port.localAddress
        peerAddress = port.peerAddress
        slot = reactor.datagramPorts.insert(self)
        port.deliver(to: self)
        reactor.performEvent { attempt { try $0.transportStarted(self) } }
        if isOpen, !isPaused { port.startReceiving() }
    }

    /// Figures about this port.
    public var statistics: DatagramStatistics {
        reactor.checkThread()
        var result = counters
        result.pending = queue.count
        return result
    }

    /// Whether it has not been closed.
    public var isListening: Bool { isOpen }

    // MARK: Life

    /// Limits the port to one peer.
    ///
    /// - Parameter peer: Of the family of the port's own address.
    /// - Throws: ``IOError`` of operation `connect`, naming the peer.
    public func connect(to peer: SocketAddress) throws(IOError) {
        reactor.checkThread()
        require(peerAddress == nil, "DatagramTransport: connect was called twice")
        guard isOpen else { return }
        // What was written to others must not go to the peer.
        if !isAwaitingRoom { sendQueued() }
        while !queue.isEmpty {
            failures.append(unsent(.wouldBlock, to: queue.withAll { $0[0].address }))
            queue.removeFirst()
            tellLater()
        }
        try port.connect(to: peer)
        peerAddress = peer
        localAddress = port.localAddress
    }

    /// Joins a multicast group.
    ///
    /// - Parameter group: The group's address and the interface to join it on.
    /// - Throws: ``IOError`` of operation `configure`, naming the group.
    public func join(_ group: MulticastGroup) throws(IOError) {
        reactor.checkThread()
        if isOpen { try port.join(group) }
    }

    /// Leaves a multicast group.
    ///
    /// - Parameter group: One that was joined.
    /// - Throws: ``IOError`` of operation `configure`, naming the group.
    public func leave(_ group: MulticastGroup) throws(IOError) {
        reactor.checkThread()
        if isOpen { try port.leave(group) }
    }

    /// Closes the port; `transportStopped` is called at the end of the turn.
    @discardableResult
    public func stopListening() -> Deferred<Void> {
        reactor.checkThread()
        if isOpen {
            if !isAwaitingRoom { sendQueued() }
            isOpen = false
            counters.unsent += UInt64(queue.count)
            queue.removeFirst(queue.count)
            telling?.cancel()
            if let group = reactor.group, let descriptor = port.sharedDescriptor {
                group.willClose(descriptor)
            }
            port.close()
            reactor.stoppedDatagramPorts.append(self)
        }
        return .succeeded((), on: reactor)
    }

    /// Asserts what must hold between events.
    func checkInvariants() {
        require(!isOnFlushList, "DatagramPort: left unflushed")
        require(isOpen || queue.isEmpty, "DatagramPort: something is queued after its end")
        require(queue.isEmpty || isAwaitingRoom, "DatagramPort: \(queue.count) wait for nothing")
        require(failures.isEmpty || telling != nil, "DatagramPort: a failure is not told")
    }

    /// Called by the reactor in the turn's last phase.
    func deliverStop() {
        tellFailures()
        proto?.transportStopped(self)
        proto = nil
        reactor.datagramPorts.remove(slot)
    }

    /// Stops deliveries.
    ///
    /// Datagrams wait in the kernel.
    public func pauseProducing() {
        reactor.checkThread()
        isPaused = true
        if isOpen { port.stopReceiving() }
    }

    /// Goes on with deliveries.
    public func resumeProducing() {
        reactor.checkThread()
        guard isPaused else { return }
        isPaused = false
        if isOpen { port.startReceiving() }
    }

    // MARK: Sending

    /// Sends a datagram at the end of the event.
    ///
    /// - Parameters:
    ///   - bytes: One datagram, which may be empty; borrowed for the call, and copied.
    ///   - address: Where it goes, of the port's family; a connected port sends to its peer.
    /// - Throws: As ``DatagramTransport/write(_:to:)-(RawSpan,_)``.
    public func write(_ bytes: RawSpan, to address: SocketAddress) throws(IOError) {
        reactor.checkThread()
        guard isOpen else { return }
        if let peerAddress {
            require(
                address == peerAddress,
                "DatagramTransport: write to \(address), but a connected port writes to its peer only"
            )
        }
        try bytes.withUnsafeBytes { (bytes) throws(IOError) in
            guard bytes.count <= Self.directByteCount else {
                return try writeDirectly(bytes, to: address)
            }
            try enqueue(bytes, to: address)
        }
        if queue.count >= Self.batchCount, !isAwaitingRoom { sendQueued() }
        if !isOnFlushList, !isAwaitingRoom, !queue.isEmpty {
            isOnFlushList = true
            reactor.flushAtEndOfEvent(self)
        }
    }

    private func enqueue(
        _ bytes: UnsafeRawBufferPointer, to address: SocketAddress
    ) throws(IOError) {
        if queue.append(bytes, to: address) { return }
        if !isAwaitingRoom {
            sendQueued()
            if queue.append(bytes, to: address) { return }
        }
        throw unsent(.noBufferSpace, to: address)
    }

    /// Sends without a copy, behind what was coalesced.
    @inline(never)
    private func writeDirectly(
        _ bytes: UnsafeRawBufferPointer, to address: SocketAddress
    ) throws(IOError) {
        if !isAwaitingRoom { sendQueued() }
        guard queue.isEmpty else { return try enqueue(bytes, to: address) }
        var datagram = BorrowedDatagram(bytes: bytes, address: address)
        let result = withUnsafePointer(to: &datagram) {
            trySend(UnsafeBufferPointer(start: $0, count: 1))
        }
        switch result {
        case .sent(0):
            try enqueue(bytes, to: address)
            awaitRoom()
        case .sent: counters.sent += 1
        case .failed(let code): throw unsent(code, to: address)
        }
    }

    /// Sends in batches, until the queue is empty or the kernel has no room.
    ///
    /// Calls nothing of the protocol's.
    private func sendQueued() {
        while !queue.isEmpty {
            switch queue.withAll({ trySend($0) }) {
            case .sent(0):
                return awaitRoom()
            case .sent(let count):
                queue.removeFirst(count)
                counters.sent &+= UInt64(count)
            case .failed(let code):
                failures.append(unsent(code, to: queue.withAll { $0[0].address }))
                queue.removeFirst()
                tellLater()
            }
        }
    }

    private func trySend(
        _ datagrams: UnsafeBufferPointer<BorrowedDatagram>
    ) -> DatagramSendResult {
        let result = port.trySend(datagrams)
        guard case .failed(let code) = result, mayTellOfEarlier else { return result }
        return sendAgain(datagrams, after: code)
    }

    /// Whether a failed send may be none of its datagram's own.
    ///
    /// What the network answers to an earlier datagram, a refusal by the peer's machine or "host
    /// unreachable" by a firewall, the kernel gives to the next call in the place of its result, and
    /// sends nothing then: `udp(7)`. It does so on connected sockets only.
    private var mayTellOfEarlier: Bool {
        switch peerAddress {
        case .ipv4, .ipv6: true
        case .unix, .descriptor, nil: false
        }
    }

    /// Tries again what has failed, and tells what was about earlier datagrams.
    ///
    /// A code does not say which it is: a machine without a route gives its own datagrams the same
    /// as a router does. So what goes on failing is the datagram's own error. Each answer is given
    /// once, and more than a few cannot come between two calls.
    @inline(never)
    private func sendAgain(
        _ datagrams: UnsafeBufferPointer<BorrowedDatagram>, after code: ErrorCode
    ) -> DatagramSendResult {
        var earlier = [code]
        var result = DatagramSendResult.failed(code)
        for _ in 0..<Self.retryCount {
            result = port.trySend(datagrams)
            guard case .failed(let next) = result else { break }
            if !earlier.contains(next) { earlier.append(next) }
        }
        if case .failed(let own) = result { earlier.removeAll { $0 == own } }
        guard !earlier.isEmpty else { return result }
        failures += earlier.map { unsentError($0, to: datagrams[0].address) }
        tellLater()
        return result
    }

    private func unsent(_ code: ErrorCode, to address: SocketAddress) -> IOError {
        counters.unsent &+= 1
        return unsentError(code, to: address)
    }

    private func unsentError(_ code: ErrorCode, to address: SocketAddress) -> IOError {
        IOError(.write, function: "sendmmsg", code: code, subject: address)
    }

    private func awaitRoom() {
        guard !isAwaitingRoom else { return }
        isAwaitingRoom = true
        port.awaitRoom()
    }

    // MARK: Telling the protocol

    /// Calls the protocol; what it throws is reported.
    ///
    /// The protocol is taken out for the call, see `StreamConnection.attempt`.
    @inline(__always)
    private func attempt(_ body: (any DatagramProtocol) throws -> Void) {
        guard let proto = proto.take() else { return }
        do { try body(proto) } catch { report(error) }
        self.proto = consume proto
    }

    @inline(never)
    private func report(_ error: any Error) {
        reactor.report(error, in: "a datagram protocol on \(localAddress)")
    }

    /// Not within the event: a protocol that answers each failure by a write that fails would never
    /// end it.
    private func tellLater() {
        guard telling == nil else { return }
        telling = reactor.callLater(.zero) { [self] in tellFailures() }
    }

    private func tellFailures() {
        telling = nil
        let told = failures
        failures = []
        for error in told { tell(error) }
    }

    private func tell(_ error: IOError) {
        attempt { proto in
            if error.code == .connectionRefused, peerAddress != nil {
                try proto.connectionRefused(on: self)
            } else {
                try proto.datagramFailed(error, on: self)
            }
        }
    }
}

extension DatagramPort: EndOfEventFlushing {
    /// Called by the reactor at the end of an event.
    public func flush() {
        isOnFlushList = false
        if isOpen, !isAwaitingRoom { sendQueued() }
    }
}

@_spi(Backend) extension DatagramPort: DatagramReceiver {
    /// Called by the backend.
    ///
    /// - Parameter datagrams: At least one, borrowed until the call returns.
    /// - Returns: How many were taken.
    public func portDidReceive(_ datagrams: UnsafeBufferPointer<BorrowedDatagram>) -> Int {
        var count = 0
        reactor.beginEvent()
        attempt { proto in
            // One that throws must not cost the others of its batch.
            while count < datagrams.count, isOpen, !isPaused {
                let datagram = datagrams[count]
                count &+= 1
                do {
                    try proto.datagramReceived(
                        datagram.bytes.bytes, from: datagram.address, on: self)
                } catch {
                    report(error)
                }
            }
        }
        counters.received &+= UInt64(count)
        reactor.endEvent()
        return count
    }

    /// Called by the backend.
    public func portCanSend() {
        isAwaitingRoom = false
        reactor.performEvent { sendQueued() }
    }

    /// Called by the backend.
    ///
    /// - Parameter error: Why one datagram was lost.
    public func portDidFail(_ error: IOError) {
        reactor.performEvent { tell(error) }
    }
}

extension Reactor {
    /// Opens a port for datagrams.
    ///
    /// ``DatagramEndpoint`` is the usual way to say where. The reactors of a `ReactorGroup` share the
    /// port unless the options have a peer or say otherwise.
    ///
    /// - Parameters:
    ///   - address: IPv4, IPv6 or UNIX; port 0 lets the kernel choose, as `.unix(.unnamed)` does.
    ///   - options: How the socket is set up, and its peer if it has one.
    ///   - proto: Gets what arrives; `transportStarted` is called before this returns.
    /// - Returns: The port, which is open until it is stopped or the run ends.
    /// - Throws: ``IOError`` that names the address.
    @discardableResult
    public func listenForDatagrams(
        on address: SocketAddress, options: DatagramOptions = DatagramOptions(),
        _ proto: any DatagramProtocol
    ) throws(IOError) -> DatagramPort {
        checkThread()
        try startIfNeeded()
        // The kernel gives the answers to one of the sockets that share a port, whichever has asked.
        guard let group, options.isSharedInGroup, options.peerAddress == nil else {
            let port = try backend.bindDatagrams(on: address, options: options)
            return adopt(port, proto, options: options)
        }
        var options = options
        options.reusePort = true
        // The protocol is not told under the group's lock: it may open another port.
        let port = try group.listenForDatagrams(on: address, from: number) {
            address throws(IOError) in
            try backend.bindDatagrams(on: address, options: options)
        } adopting: { descriptor throws(IOError) in
            try backend.adoptDatagrams(descriptor, options: options)
        }
        return adopt(port, proto, options: options)
    }

    /// Receives with a duplicate of a socket that is open already.
    ///
    /// - Throws: ``IOError`` of operation `open` that names the descriptor.
    func listenForDatagrams(
        adopting descriptor: Int32, options: DatagramOptions, _ proto: any DatagramProtocol
    ) throws(IOError) -> DatagramPort {
        checkThread()
        try startIfNeeded()
        let port = try backend.adoptDatagrams(descriptor, options: options)
        return adopt(port, proto, options: options)
    }

    /// Puts a protocol above a port that was made elsewhere, for example in memory.
    ///
    /// - Parameters:
    ///   - port: One that does not receive yet; closed with the transport.
    ///   - proto: Gets what arrives; `transportStarted` is called before this returns.
    ///   - options: How the transport behaves.
    /// - Returns: The open port.
    @_spi(Backend)
    public func adopt(
        _ port: any BackendDatagramPort, _ proto: any DatagramProtocol,
        options: DatagramOptions = DatagramOptions()
    ) -> DatagramPort {
        checkThread()
        return DatagramPort(reactor: self, port: port, proto: proto, options: options)
    }
}
