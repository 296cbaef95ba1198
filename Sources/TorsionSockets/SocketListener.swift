// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

internal import CTorsionSockets
internal import Glibc
@_spi(Backend) internal import TorsionCore

/// A listening stream socket.
final class SocketListener: PollTarget {
    /// Clients accepted before the others have their turn.
    private static let acceptsPerTurn = 64

    @exclusivity(unchecked) private var socket: ListeningSocket
    private unowned(unsafe) let backend: SocketBackend
    private var receiver: (any ListenerReceiver)?
    private var isAccepting = false

    init(
        backend: SocketBackend, address: SocketAddress, options: StreamOptions,
        receiver: any ListenerReceiver
    ) throws(IOError) {
        self.backend = backend
        self.receiver = receiver
        socket = try ListeningSocket(address, options)
        super.init(descriptor: socket.descriptor)
        backend.openHandleCount += 1
    }

    /// A socket that listens already; its file, if it has one, is whoever's who made it.
    init(
        backend: SocketBackend, adopted descriptor: Int32, at address: SocketAddress,
        receiver: any ListenerReceiver
    ) {
        self.backend = backend
        self.receiver = receiver
        socket = ListeningSocket(adopted: descriptor, at: address)
        super.init(descriptor: descriptor)
        backend.openHandleCount += 1
    }

    override func watchWasRefused(_ code: ErrorCode) { receiver?.listenerDidFail(code) }

    override func ready(_ events: PollEvents) {
        // Both are retained once for the batch; who closes the port inside it stops the accepting.
        guard let receiver else { return }
        let backend = backend
        var failures = 0
        var address = sockaddr_storage()
        for _ in 0..<Self.acceptsPerTurn where isAccepting {
            var size = socklen_t(MemoryLayout<sockaddr_storage>.size)
            let accepted = torsion_accept(descriptor, &address, &size)
            guard accepted >= 0 else {
                let number = errno
                if number == EAGAIN { return }
                failures += 1
                // ECONNABORTED, EPROTO, EPERM and the network errors of `accept(2)` are about one
                // client, which has gone; but a batch of nothing else is no accident, and would be
                // met again in each turn.
                let code = ErrorCode(errno: number)
                guard code.isAcceptShortage || failures == Self.acceptsPerTurn else { continue }
                receiver.listenerDidFail(code)
                return
            }
            let peer = SocketAddress(address, size: size)
            receiver.listenerDidAccept(
                SocketStream(
                    backend: backend, accepted: accepted, from: peer, at: socket.acceptedAddress))
        }
    }
}

extension SocketListener: BackendListener {
    func startAccepting() {
        guard !isAccepting, receiver != nil else { return }
        isAccepting = backend.watch(self, for: .readable)
    }

    func stopAccepting() {
        guard isAccepting else { return backend.forgetRefusal(of: self) }
        isAccepting = false
        backend.poller.remove(self)
    }

    var localAddress: SocketAddress { socket.localAddress }

    var sharedDescriptor: Int32? { descriptor }

    var ownsFile: Bool {
        get { socket.ownsFile }
        set { socket.ownsFile = newValue }
    }

    func leaveLaterClients() { socket.leaveLaterClients() }

    func takeWaiting(limit: Int) -> [any BackendStream] {
        acceptWaiting(limit: limit, from: descriptor).map { accepted, peer in
            SocketStream(
                backend: backend, accepted: accepted, from: peer, at: socket.acceptedAddress)
        }
    }

    func shed(limit: Int) -> Int {
        receiver == nil ? 0 : backend.refuse(limit: limit, from: descriptor)
    }

    func close() {
        precondition(receiver != nil, "BackendListener: closed twice")
        stopAccepting()
        receiver = nil
        socket.close()
        backend.openHandleCount -= 1
    }
}
