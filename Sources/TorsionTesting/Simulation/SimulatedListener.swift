// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

@_spi(Backend) internal import TorsionCore

/// A port that listens on a simulated host.
final class SimulatedListener: SimulatedHandle {
    private static let acceptsPerTurn = 64

    let localAddress: SocketAddress
    private let options: StreamOptions
    private var receiver: (any ListenerReceiver)?
    private var isAccepting = false
    /// Clients that nobody has accepted.
    private var waiting: [SimulatedSocket] = []

    init(
        backend: SimulatedBackend, address: SocketAddress, options: StreamOptions,
        receiver: any ListenerReceiver
    ) throws(IOError) {
        let node = backend.node
        guard node.owns(address) else {
            throw IOError(.listen, function: "bind", code: .addressNotAvailable, subject: address)
        }
        localAddress = node.withPort(address)
        self.options = options
        self.receiver = receiver
        let taken = localAddress
        if node.listeners.contains(where: { $0.isReached(by: taken) }) {
            throw IOError(.listen, function: "bind", code: .addressInUse, subject: taken)
        }
        super.init(backend: backend)
        node.listeners.append(self)
    }

    /// Whether a client that names this address comes here.
    func isReached(by address: SocketAddress) -> Bool {
        localAddress.isReached(by: address)
    }

    /// Linux holds one more than was asked for: `listen(2)`.
    var isFull: Bool { waiting.count > options.backlog }

    /// A client's wish to connect arrived.
    func enqueue(client: SimulatedSocket) {
        let socket = SimulatedSocket(
            network: backend.network, number: client.number, isClient: false, at: backend.node,
            to: client.node, local: client.peerAddress, peer: client.localAddress,
            options: options)
        socket.peer = client
        client.peer = socket
        waiting.append(socket)
        socket.accept()
        if isAccepting { becameReady() }
    }

    override func poll() {
        for _ in 0..<Self.acceptsPerTurn {
            guard isAccepting, let receiver, let socket = waiting.first else { return }
            if backend.isShort || socket.strike(.shortage) != nil {
                receiver.listenerDidFail(.tooManyOpenFiles)
                break
            }
            waiting.removeFirst()
            receiver.listenerDidAccept(stream(over: socket))
        }
        if isAccepting, !waiting.isEmpty { becameReady() }
    }
}

extension SimulatedListener: BackendListener {
    func startAccepting() {
        isAccepting = true
        if !waiting.isEmpty { becameReady() }
    }

    func stopAccepting() { isAccepting = false }

    func takeWaiting(limit: Int) -> [any BackendStream] {
        var streams: [any BackendStream] = []
        while streams.count < limit, let socket = waiting.first, !backend.isShort {
            waiting.removeFirst()
            streams.append(stream(over: socket))
        }
        return streams
    }

    private func stream(over socket: SimulatedSocket) -> SimulatedStream {
        let stream = SimulatedStream(backend: backend, socket: socket, receiver: nil)
        if socket.error != nil { stream.becameReady() }
        return stream
    }

    func shed(limit: Int) -> Int {
        let count = min(limit, waiting.count)
        for socket in waiting.prefix(count) { socket.close() }
        waiting.removeFirst(count)
        return count
    }

    func close() {
        precondition(receiver != nil, "BackendListener: closed twice")
        isAccepting = false
        receiver = nil
        backend.openHandleCount -= 1
        backend.node.listeners.removeAll { $0 === self }
        for socket in waiting { socket.reset() }
        waiting = []
    }
}
