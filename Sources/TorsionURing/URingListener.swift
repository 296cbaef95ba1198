// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

internal import CTorsionSockets
internal import CTorsionURing
internal import TorsionCore
internal import TorsionSockets

/// A listening stream socket.
///
/// One operation accepts client after client. It does not tell their addresses, since it has room
/// for one, which the next client would overwrite: they are asked for, and a client that has reset
/// its connection by then is skipped.
final class URingListener: RingTarget {
    /// Errors about one client each, one behind the other, that are no accident any more.
    private static let failureLimit = 64

    private let socket: ListeningSocket
    private unowned(unsafe) let backend: URingBackend
    private unowned(unsafe) let ring: Ring
    private var receiver: (any ListenerReceiver)?
    private var isAccepting = false
    private var operation = Operation.idle
    /// Clients that were accepted after accepting was stopped.
    private var held: [Int32] = []
    private var failures = 0

    private enum Operation { case idle, armed, cancelling }

    init(
        backend: URingBackend, address: SocketAddress, options: StreamOptions,
        receiver: any ListenerReceiver
    ) throws(IOError) {
        self.backend = backend
        ring = backend.ring
        self.receiver = receiver
        socket = try ListeningSocket(address, options)
        super.init()
        backend.openStreamCount += 1
    }

    override func completed(_ kind: Int, _ result: Int32, _ flags: UInt32) {
        if flags & UInt32(TORSION_URING_HAS_MORE) == 0 {
            operation = .idle
            ring.ended(self)
        }
        if result >= 0 {
            failures = 0
            if isAccepting, held.isEmpty { accept(result) } else { hold(result) }
        } else {
            failed(ErrorCode(errno: -result))
        }
        update()
    }

    override func cancelFailed() {
        guard operation == .cancelling else { return }
        operation = .armed
        update()
    }

    private func accept(_ descriptor: Int32) {
        guard let receiver, let peer = TorsionSockets.peerAddress(of: descriptor) else {
            return torsion_close(descriptor)
        }
        receiver.listenerDidAccept(
            URingStream(
                backend: backend, accepted: descriptor, from: peer, at: socket.acceptedAddress))
    }

    private func hold(_ descriptor: Int32) {
        guard receiver != nil else { return torsion_close(descriptor) }
        held.append(descriptor)
        if isAccepting { ring.deliverLater(self) }
    }

    override func deliverHeld() {
        while isAccepting, !held.isEmpty { accept(held.removeFirst()) }
        update()
    }

    private func failed(_ code: ErrorCode) {
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
        case .idle: if isAccepting { arm() }
        case .armed: if !isAccepting { cancel() }
        case .cancelling: break
        }
    }

    private func arm() {
        let isMultishot: Int32 = ring.has(TORSION_URING_MULTISHOT_ACCEPT) ? 1 : 0
        torsion_uring_prepare_accept(
            ring.nextEntry(), socket.descriptor, isMultishot, userData(TORSION_URING_ACCEPT))
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

    func startAccepting() {
        guard !isAccepting, receiver != nil else { return }
        isAccepting = true
        if !held.isEmpty { ring.deliverLater(self) }
        update()
    }

    func stopAccepting() {
        guard isAccepting else { return }
        isAccepting = false
        update()
    }

    func shed(limit: Int) -> Int {
        backend.others.refuse(limit: limit, from: socket.descriptor)
    }

    func close() {
        precondition(receiver != nil, "BackendListener: closed twice")
        stopAccepting()
        receiver = nil
        for descriptor in held { torsion_close(descriptor) }
        held = []
        // The operation keeps the socket, and with it the address, until it has ended.
        if operation == .cancelling { ring.runDeferredWork() }
        socket.close()
        backend.openStreamCount -= 1
    }
}
