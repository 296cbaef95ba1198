// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

#if IOUring

internal import CTorsionSockets
internal import CTorsionURing
@_spi(Backend) internal import TorsionCore
@_spi(Backend) internal import TorsionSockets

/// A listening stream socket.
///
/// One operation accepts one client. One that goes on by itself would take every client that waits
/// before the first is delivered, up to the last descriptor, so that nothing could be opened for any
/// of them; and it has no room for more than one address. An operation that is over at once met a
/// queue of clients: then the others are accepted without the ring, as `SocketListener` does.
final class URingListener: RingTarget {
    /// Clients accepted before the others have their turn.
    private static let acceptsPerTurn = 64
    /// Errors about one client each, one behind the other, that are no accident any more.
    private static let failureLimit = 64

    private let socket: ListeningSocket
    private unowned(unsafe) let backend: URingBackend
    private unowned(unsafe) let ring: Ring
    private var receiver: (any ListenerReceiver)?
    private var isAccepting = false
    private var operation = Operation.idle
    /// Where the kernel writes who was accepted.
    private let peer: UnsafeMutablePointer<torsion_uring_peer>
    /// The number of the ring's call that handed the operation over.
    private var armedSubmitCount: UInt64 = 0
    /// A client that was accepted after accepting was stopped.
    private var held: Client?
    private var failures = 0

    private enum Operation { case idle, armed, cancelling }

    private struct Client {
        let descriptor: Int32
        let address: SocketAddress
    }

    init(
        backend: URingBackend, address: SocketAddress, options: StreamOptions,
        receiver: any ListenerReceiver
    ) throws(IOError) {
        socket = try ListeningSocket(address, options)
        self.backend = backend
        ring = backend.ring
        self.receiver = receiver
        peer = .allocate(capacity: 1)
        peer.initialize(to: torsion_uring_peer())
        super.init()
        backend.openStreamCount += 1
    }

    deinit { peer.deallocate() }

    override func completed(_ kind: Int, _ result: Int32, _ flags: UInt32) {
        operation = .idle
        ring.ended(self)
        if result < 0 {
            failed(ErrorCode(errno: -result))
        } else {
            accepted(result)
            if ring.submitCount == armedSubmitCount &+ 1 { acceptWaiting() }
        }
        update()
    }

    override func cancelFailed() {
        guard operation == .cancelling else { return }
        operation = .armed
        update()
    }

    private func accepted(_ descriptor: Int32) {
        failures = 0
        guard receiver != nil else { return torsion_close(descriptor) }
        let client = Client(descriptor: descriptor, address: peerAddress)
        if isAccepting { deliver(client) } else { held = client }
    }

    private var peerAddress: SocketAddress {
        let room = MemoryLayout.size(ofValue: peer.pointee.address)
        return SocketAddress(
            sockaddr: UnsafeRawBufferPointer(start: peer, count: room), size: peer.pointee.size)
    }

    private func deliver(_ client: Client) {
        receiver?.listenerDidAccept(
            URingStream(
                backend: backend, accepted: client.descriptor, from: client.address,
                at: socket.acceptedAddress))
    }

    override func deliverHeld() {
        guard isAccepting, let client = held.take() else { return }
        deliver(client)
        update()
    }

    /// Accepts those who wait behind the first.
    ///
    /// Whoever is called may close the port, or stop accepting.
    private func acceptWaiting() {
        for _ in 1..<Self.acceptsPerTurn where isAccepting && operation == .idle {
            peer.pointee.size = UInt32(MemoryLayout.size(ofValue: peer.pointee.address))
            let descriptor = torsion_accept(
                socket.descriptor, &peer.pointee.address, &peer.pointee.size)
            if descriptor >= 0 {
                accepted(descriptor)
            } else {
                let code = ErrorCode(errno: torsion_errno())
                if code == .wouldBlock { return }
                failed(code)
            }
        }
    }

    func failed(_ code: ErrorCode) {
        switch code {
        case .canceled, .wouldBlock, .interrupted: return
        default: failures += 1
        }
        // ECONNABORTED, EPROTO, EPERM and the network errors of `accept(2)` are about one client,
        // which has gone; but nothing else for long is no accident.
        guard isAccepting, code.isAcceptShortage || failures >= Self.failureLimit else { return }
        failures = 0
        receiver?.listenerDidFail(code)
    }

    private func update() {
        switch operation {
        // A client that is held comes first.
        case .idle: if isAccepting, held == nil { arm() }
        case .armed: if !isAccepting { cancel() }
        case .cancelling: break
        }
    }

    private func arm() {
        torsion_uring_prepare_accept(
            ring.nextEntry(), socket.descriptor, peer, userData(TORSION_URING_ACCEPT))
        // Behind `nextEntry()`, which may hand over what was prepared before.
        armedSubmitCount = ring.submitCount
        ring.began(self)
        operation = .armed
    }

    private func cancel() {
        operation = .cancelling
        ring.cancel(self, TORSION_URING_ACCEPT)
    }
}

extension URingListener: BackendListener {
    var localAddress: SocketAddress { socket.localAddress }

    var sharedDescriptor: Int32? { socket.descriptor }

    func startAccepting() {
        guard !isAccepting, receiver != nil else { return }
        isAccepting = true
        if held != nil { ring.deliverLater(self) }
        update()
    }

    func stopAccepting() {
        guard isAccepting else { return }
        isAccepting = false
        update()
    }

    func leaveLaterClients() { socket.leaveLaterClients() }

    func takeWaiting(limit: Int) -> [any BackendStream] {
        let first = held.take().map { [($0.descriptor, $0.address)] } ?? []
        let others = TorsionSockets.acceptWaiting(
            limit: limit - first.count, from: socket.descriptor)
        return (first + others).map { descriptor, peer in
            URingStream(
                backend: backend, accepted: descriptor, from: peer, at: socket.acceptedAddress)
        }
    }

    func shed(limit: Int) -> Int {
        receiver == nil ? 0 : backend.others.refuse(limit: limit, from: socket.descriptor)
    }

    func close() {
        precondition(receiver != nil, "BackendListener: closed twice")
        stopAccepting()
        receiver = nil
        if let client = held.take() { torsion_close(client.descriptor) }
        // The operation keeps the socket, and with it the address, until it has ended.
        if operation == .cancelling { ring.runDeferredWork() }
        socket.close()
        backend.openStreamCount -= 1
    }
}

#endif
