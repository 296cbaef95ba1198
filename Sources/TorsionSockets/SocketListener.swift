// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

internal import CTorsionSockets
internal import Glibc
internal import TorsionCore

/// A listening stream socket.
final class SocketListener: PollTarget {
    /// Clients accepted before the others have their turn.
    private static let acceptsPerTurn = 64

    let localAddress: SocketAddress

    private unowned(unsafe) let backend: SocketBackend
    private var receiver: (any ListenerReceiver)?
    private var isAccepting = false
    /// The file of a UNIX socket, which goes with it.
    private let file: SocketFile?

    init(
        backend: SocketBackend, address: SocketAddress, options: StreamOptions,
        receiver: any ListenerReceiver
    ) throws(IOError) {
        self.backend = backend
        self.receiver = receiver
        let descriptor = try makeSocket(for: address, .listen)
        var bound: SocketFile?
        do throws(IOError) {
            // Accepted sockets inherit these on Linux: one system call less for each.
            try configure(descriptor, for: address, options, .listen)
            bound = try bindForListening(descriptor, to: address, mode: options.unixMode)
            let backlog = Int32(clamping: options.backlog)
            guard Glibc.listen(descriptor, backlog) == 0 else {
                throw lastError(.listen, "listen", address)
            }
            localAddress = ownAddress(of: descriptor)
            file = bound
        } catch {
            bound?.remove()
            Glibc.close(descriptor)
            throw error
        }
        super.init(descriptor: descriptor)
        backend.openHandleCount += 1
    }

    /// A socket that listens already; its file, if it has one, is whoever's who made it.
    init(
        backend: SocketBackend, adopted descriptor: Int32, at address: SocketAddress,
        receiver: any ListenerReceiver
    ) {
        self.backend = backend
        self.receiver = receiver
        localAddress = address
        file = nil
        super.init(descriptor: descriptor)
        backend.openHandleCount += 1
    }

    override func ready(_ events: PollEvents) {
        var failures = 0
        for _ in 0..<Self.acceptsPerTurn where isAccepting {
            var address = sockaddr_storage()
            var size = socklen_t(MemoryLayout<sockaddr_storage>.size)
            let accepted = torsion_accept(descriptor, &address, &size)
            guard accepted >= 0 else {
                let number = errno
                if number == EAGAIN { return }
                failures += 1
                // ECONNABORTED, EPROTO, EPERM and the network errors of `accept(2)` are about one
                // client, which has gone; but a batch of nothing else is no accident, and would be
                // met again in each turn.
                guard Self.isShortage(number) || failures == Self.acceptsPerTurn else { continue }
                receiver?.listenerDidFail(ErrorCode(errno: number))
                return
            }
            let peer = SocketAddress(address, size: size)
            let stream = SocketStream(backend: backend, accepted: accepted, from: peer)
            if let receiver { receiver.listenerDidAccept(stream) } else { stream.close() }
        }
    }

    private static func isShortage(_ number: Int32) -> Bool {
        switch number {
        case EMFILE, ENFILE, ENOMEM, ENOBUFS: true
        default: false
        }
    }
}

extension SocketListener: BackendListener {
    func startAccepting() {
        guard !isAccepting, receiver != nil else { return }
        isAccepting = true
        if let code = backend.poller.add(self, for: .readable) {
            isAccepting = false
            receiver?.listenerDidFail(code)
        }
    }

    func stopAccepting() {
        guard isAccepting else { return }
        isAccepting = false
        backend.poller.remove(self)
    }

    func shed(limit: Int) -> Int {
        var count = 0
        while count < limit {
            let refused = backend.withReserveReleased { () -> Bool in
                var address = sockaddr_storage()
                var size = socklen_t(MemoryLayout<sockaddr_storage>.size)
                let accepted = torsion_accept(descriptor, &address, &size)
                guard accepted >= 0 else { return false }
                Glibc.close(accepted)
                return true
            }
            guard refused == true else { break }
            count += 1
        }
        return count
    }

    func close() {
        precondition(receiver != nil, "BackendListener: closed twice")
        stopAccepting()
        receiver = nil
        // Before the socket: a client that connects in between is refused, not lost.
        file?.remove()
        Glibc.close(descriptor)
        backend.openHandleCount -= 1
    }
}
