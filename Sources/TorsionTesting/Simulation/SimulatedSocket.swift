// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

@_spi(Backend) internal import TorsionCore

/// A kernel's side of one end of a connection: what was sent and has not arrived, what arrived and
/// was not read.
///
/// It outlives the stream above it, as a socket does that was closed with output still to send.
/// The rules that matter to a program are TCP's: bytes arrive in order or not at all; closing with
/// input unread resets, and so does sending to a socket that is gone.
final class SimulatedSocket {
    enum State {
        case connecting, open
        /// Closed by its program; what was sent still leaves.
        case orphan
        case gone
    }

    enum Segment {
        case connect, accept
        case bytes(Bytes)
        case end, reset
    }

    let number: Int
    let isClient: Bool
    unowned let network: SimulatedNetwork
    let node: NetworkNode
    let otherNode: NetworkNode
    let localAddress: SocketAddress
    let peerAddress: SocketAddress
    let chances: Chances

    weak var peer: SimulatedSocket?
    /// Who is told; nil before it was accepted and after it was closed.
    weak var stream: SimulatedStream?
    var state: State
    var error: ErrorCode?

    // Outgoing.
    private var unsent = ByteQueue()
    private var sendLimit: Int
    private var underWay: [(segment: Segment, arrival: UInt64)] = []
    private var byteCountUnderWay = 0
    /// Sent to a host that was down.
    private var lostByteCount = 0
    /// Whether the program shut down writing.
    private(set) var isEndAsked = false
    private var isEndSent = false
    private var hasEndArrived = false
    private var lineIsFreeAt: UInt64 = 0
    private var connectTries = 0
    private var sentByteCount = 0
    /// Whether something of it was lost for good, so that nothing behind it can arrive either.
    private var isMute = false
    /// Whether the network ended this direction: for the program the socket is broken, for the peer
    /// it is one that was shut down.
    private var isTruncated = false

    // Incoming.
    var received = ByteQueue()
    private var receiveLimit: Int
    private(set) var hasPeerEnded = false
    private var receivedByteCount = 0

    init(
        network: SimulatedNetwork, number: Int, isClient: Bool, at node: NetworkNode,
        to otherNode: NetworkNode, local: SocketAddress, peer: SocketAddress,
        options: StreamOptions
    ) {
        self.network = network
        self.number = number
        self.isClient = isClient
        self.node = node
        self.otherNode = otherNode
        localAddress = local
        peerAddress = peer
        chances = Chances(number, isClient ? .client : .server)
        state = isClient ? .connecting : .open
        sendLimit = max(1, options.sendBufferBytes ?? network.conditions.sendBufferBytes)
        receiveLimit = max(1, options.receiveBufferBytes ?? network.conditions.receiveBufferBytes)
        network.keep(self)
    }

    // MARK: What the program does

    /// Room for a write.
    var room: Int { max(0, sendLimit - unsent.byteCount) }

    /// What `SIOCOUTQ` counts: bytes that have not arrived at the peer's kernel, the FIN being one.
    var unacknowledgedByteCount: Int {
        guard error == nil else { return 0 }
        return unsent.byteCount + byteCountUnderWay + lostByteCount
            + (isEndAsked && !hasEndArrived ? 1 : 0)
    }

    /// Takes what the program writes; there is room for it.
    func take(_ bytes: Bytes) {
        precondition(bytes.count <= room, "SimulatedSocket: took more than it has room for")
        unsent.append(bytes)
        sentByteCount += bytes.count
        pump()
    }

    /// Takes bytes out of the receive buffer for the program.
    func read(_ limit: Int) -> Bytes {
        let bytes = received.take(limit)
        if let peer, !peer.unsent.isEmpty {
            network.schedule(.room(peer), at: network.now.nanoseconds + latency)
        }
        return bytes
    }

    /// Ends the outgoing direction behind what was taken.
    func shutdown() {
        isEndAsked = true
        pump()
    }

    /// The program is done with it.
    func close() {
        stream = nil
        guard state == .open, !isBroken else { return vanish() }
        if !received.isEmpty { return reset() }
        state = .orphan
        isEndAsked = true
        pump()
        releaseIfDone()
    }

    /// Drops what was not sent; the peer sees a reset.
    func reset() {
        stream = nil
        unsent.removeAll()
        if state == .open || state == .orphan, !isBroken { transmit(.reset) }
        vanish()
    }

    /// Whether the peer is done with it, so that there is nobody to tell anything.
    private var isBroken: Bool { error != nil && !isTruncated }

    private func vanish() {
        state = .gone
        unsent.removeAll()
        received.removeAll()
        releaseIfDone()
    }

    // MARK: Sending

    func connect() {
        connectTries += 1
        transmit(.connect)
    }

    func accept() { transmit(.accept) }

    /// Sends as much as the peer has room for.
    func pump() {
        guard state == .open || state == .orphan, error == nil else { return }
        while !unsent.isEmpty {
            let window =
                peer.map { $0.receiveLimit - $0.received.byteCount - byteCountUnderWay } ?? .max
            guard window > 0 else { break }
            var limit = min(window, network.conditions.segmentBytes)
            if let word = strike(.split) { limit = min(limit, 1 + Int(word % 1_500)) }
            transmit(.bytes(unsent.take(limit)))
        }
        if unsent.isEmpty, isEndAsked, !isEndSent {
            isEndSent = true
            transmit(.end)
        }
        if room > 0 { stream?.roomAppeared() }
    }

    private func transmit(_ segment: Segment) {
        strikeConnection(segment)
        var time = max(network.now.nanoseconds, lineIsFreeAt)
        if case .bytes(let bytes) = segment {
            byteCountUnderWay += bytes.count
            if let bandwidth = network.conditions.bandwidth {
                time += UInt64(bytes.count) * 1_000_000_000 / UInt64(bandwidth)
            }
        }
        lineIsFreeAt = time
        var arrival = time + latency
        if let word = strike(.delay) {
            arrival += word % max(1, network.conditions.spread.wholeNanoseconds)
        }
        // In order: what is behind a late segment waits for it.
        if let last = underWay.last { arrival = max(arrival, last.arrival) }
        underWay.append((segment, arrival))
        network.trace.add(
            time: network.now.nanoseconds, host: node.index, other: otherNode.index,
            connection: number, .sent(segment.traced, arrival: arrival))
        network.schedule(.arrival(self), at: arrival)
    }

    /// Chances of faults that are larger than one segment.
    private func strikeConnection(_ segment: Segment) {
        guard case .bytes = segment else { return }
        if let word = strike(.partition) {
            let length = word % network.conditions.longestPartition.wholeNanoseconds
            network.partition(node, otherNode, until: network.now.nanoseconds + length)
        }
        if strike(.reset) != nil {
            // Behind this segment, in both directions, as a router does that forgot a connection.
            let socket = self
            network.schedule(.call { socket.breakOff() }, at: network.now.nanoseconds + latency)
        } else if strike(.end) != nil {
            let socket = self
            network.schedule(.call { socket.truncate() }, at: network.now.nanoseconds + latency)
        }
    }

    /// Both ends see a reset; what is under way is lost.
    func breakOff() {
        peer?.fail(.connectionReset)
        fail(.connectionReset)
    }

    /// The peer sees the end, this side a broken pipe; what was not sent is lost.
    func truncate() {
        guard state == .open || state == .orphan, error == nil, !isEndSent else { return }
        unsent.removeAll()
        isEndAsked = true
        isEndSent = true
        isTruncated = true
        error = .brokenPipe
        transmit(.end)
        stream?.becameReady()
    }

    func strike(_ kind: Fault.Kind) -> UInt64? {
        guard let word = network.draws.strike(kind, chances) else { return nil }
        if let fault = network.draws.struck.last {
            network.trace.add(
                time: network.now.nanoseconds, host: node.index, connection: number,
                .struck(fault))
        }
        return word
    }

    private var latency: UInt64 {
        let conditions = network.conditions
        return (node === otherNode ? conditions.loopbackLatency : conditions.latency)
            .wholeNanoseconds
    }

    // MARK: Arriving

    /// What this socket sent first arrives at the other host.
    func firstSegmentArrives() {
        if let end = network.partitionEnd(node, otherNode) {
            // Sent again when the partition has ended.
            return network.schedule(.arrival(self), at: max(end, network.now.nanoseconds) + latency)
        }
        let segment = underWay.removeFirst().segment
        if case .bytes(let bytes) = segment { byteCountUnderWay -= bytes.count }
        defer { releaseIfDone() }
        if case .connect = segment { return connectArrives() }
        if otherNode.isDown { isMute = true }
        guard !isMute else {
            if case .bytes(let bytes) = segment { lostByteCount += bytes.count }
            return
        }
        guard let peer, peer.state != .gone else {
            // Nobody is there any more, and says so.
            if case .reset = segment { return }
            return answerReset()
        }
        peer.arrive(segment)
        if case .end = segment { hasEndArrived = true }
    }

    private func arrive(_ segment: Segment) {
        guard !isBroken else { return }
        switch segment {
        case .connect: preconditionFailure("SimulatedSocket: connected twice")
        case .accept:
            guard state == .connecting else { return }
            state = .open
            stream?.becameReady()
        case .bytes(let bytes):
            guard state == .open else { return reset() }
            received.append(bytes)
            receivedByteCount += bytes.count
            stream?.becameReady()
        case .end:
            hasPeerEnded = true
            stream?.becameReady()
            releaseIfDone()
        case .reset: fail(.connectionReset)
        }
    }

    private func answerReset() {
        guard state == .open || state == .orphan else { return }
        let socket = self
        network.schedule(
            .call { socket.fail(.connectionReset) }, at: network.now.nanoseconds + latency)
    }

    private func answerRefusal() {
        let arrival = network.now.nanoseconds + latency
        network.trace.add(
            time: network.now.nanoseconds, host: otherNode.index, other: node.index,
            connection: number, .sent(.refuse, arrival: arrival))
        network.schedule(.refusal(self), at: arrival)
    }

    private func connectArrives() {
        guard state == .connecting, strike(.ignore) == nil, !otherNode.isDown else { return }
        let listener = otherNode.listener(for: peerAddress)
        guard let listener, strike(.refuse) == nil else {
            return answerRefusal()
        }
        guard !listener.isFull else {
            // Sent again after a second, then two, then four: `tcp_syn_retries` in tcp(7).
            let wait = UInt64(1_000_000_000) << UInt64(min(connectTries - 1, 6))
            let socket = self
            return network.schedule(
                .call { if socket.state == .connecting { socket.connect() } },
                at: network.now.nanoseconds + wait)
        }
        listener.enqueue(client: self)
    }

    /// The connection is broken, for this end.
    func fail(_ code: ErrorCode) {
        guard state != .gone, !isBroken else { return }
        error = code
        isTruncated = false
        unsent.removeAll()
        stream?.becameReady()
        if stream == nil, state == .orphan { vanish() }
    }

    // MARK: The end

    /// Whether the network may forget it: closed, and nothing of it under way.
    private func releaseIfDone() {
        guard underWay.isEmpty else { return }
        switch state {
        case .gone: network.release(self)
        case .orphan where hasEndArrived && hasPeerEnded:
            state = .gone
            network.release(self)
        case .orphan, .connecting, .open: break
        }
    }

    func checkInvariants() {
        precondition(unsent.byteCount <= sendLimit, "SimulatedSocket: the send buffer ran over")
        precondition(
            received.byteCount <= receiveLimit, "SimulatedSocket: the receive buffer ran over")
        guard let peer, !isMute, error == nil, peer.error == nil, state == .open,
            peer.state == .open
        else { return }
        precondition(
            sentByteCount == peer.receivedByteCount + byteCountUnderWay + unsent.byteCount,
            "SimulatedSocket: bytes were lost or doubled under way")
    }
}

extension SimulatedSocket.Segment {
    fileprivate var traced: Trace.Segment {
        switch self {
        case .connect: .connect
        case .accept: .accept
        case .bytes(let bytes): .bytes(bytes.count)
        case .end: .end
        case .reset: .reset
        }
    }
}
