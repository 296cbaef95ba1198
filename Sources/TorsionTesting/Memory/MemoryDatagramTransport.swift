// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

@_spi(Backend) public import TorsionCore

/// A port for datagrams without a socket: a test plays its peers.
///
/// The protocol sees a real transport, the engine's own; only the kernel is replaced.
///
///     let port = MemoryDatagramTransport(Echo())
///     port.receive("ping", from: .ipv4(.loopback, port: 7))
///     #expect(port.takeDatagrams() == [Datagram("ping", .ipv4(.loopback, port: 7))])
public final class MemoryDatagramTransport {
    /// The clock that timers of this port go by.
    public let clock: ManualClock

    /// The protocol's transport.
    public let transport: any DatagramTransport

    private let port: MemoryDatagramPort

    /// Opens, and calls `transportStarted`.
    ///
    /// - Parameters:
    ///   - proto: The protocol under test.
    ///   - clock: Shared by ports that belong together; nil makes one.
    ///   - room: How many datagrams the kernel takes before it is full; unlimited unless it is set,
    ///     see ``drain(_:)``.
    ///   - options: As for a port over sockets.
    ///   - localAddress: The port's address, as the protocol sees it.
    public init(
        _ proto: any DatagramProtocol, clock: ManualClock? = nil, room: Int = .max,
        options: DatagramOptions = DatagramOptions(),
        localAddress: SocketAddress = .ipv4(.loopback, port: 53)
    ) {
        let clock = clock ?? ManualClock()
        self.clock = clock
        port = MemoryDatagramPort(local: localAddress, peer: options.peerAddress, room: room)
        clock.backend.datagramPorts.append(port)
        transport = clock.reactor.adopt(port, proto, options: options)
        turn()
    }

    /// Whether the port has not been closed.
    public var isOpen: Bool { port.isOpen }

    /// Whether the engine receives from the kernel now.
    public var isReceiving: Bool { port.isReceiving }

    /// A datagram arrives.
    ///
    /// - Parameters:
    ///   - text: The whole datagram, as UTF-8.
    ///   - address: The sender.
    public func receive(_ text: String, from address: SocketAddress) {
        receive([Datagram(text, address)])
    }

    /// Datagrams arrive together.
    ///
    /// - Parameter datagrams: In the order in which they came.
    public func receive(_ datagrams: [Datagram]) {
        port.arrived += datagrams
        turn()
    }

    /// The peer of a connected port refuses a datagram.
    public func refuse() {
        port.failures.append(
            IOError(.read, function: "recvmmsg", code: .connectionRefused))
        turn()
    }

    /// The kernel gets room for so many datagrams more.
    ///
    /// - Parameter count: `.max` makes the room unlimited.
    public func drain(_ count: Int = .max) {
        port.room = count == .max ? .max : port.room + count
        turn()
    }

    /// The datagrams that were sent since the last call.
    public func takeDatagrams() -> [Datagram] {
        defer { port.sent = [] }
        return port.sent
    }

    /// Inside a callback, what happens is met by the clock's next turn.
    private func turn() {
        if !clock.reactor.isInsideEvent { clock.turn() }
    }
}

/// A datagram with bytes of its own.
public struct Datagram: Hashable, Sendable {
    /// The payload.
    public let bytes: Bytes
    /// Where it came from, or goes to.
    public let address: SocketAddress

    /// Some bytes from, or to, an address.
    ///
    /// - Parameters:
    ///   - bytes: The whole datagram; may be empty.
    ///   - address: Where it came from, or goes to.
    public init(_ bytes: Bytes, _ address: SocketAddress) {
        self.bytes = bytes
        self.address = address
    }

    /// The UTF-8 of a text.
    ///
    /// - Parameters:
    ///   - text: The whole datagram; may be empty.
    ///   - address: Where it came from, or goes to.
    public init(_ text: String, _ address: SocketAddress) { self.init(Bytes(text), address) }
}

/// The kernel's part, played by arrays.
final class MemoryDatagramPort: BackendDatagramPort {
    let localAddress: SocketAddress
    private(set) var peerAddress: SocketAddress?
    var arrived: [Datagram] = []
    var failures: [IOError] = []
    var sent: [Datagram] = []
    var room: Int
    private(set) var isOpen = true
    private(set) var isReceiving = false
    private var isAwaited = false
    private var receiver: (any DatagramReceiver)?

    init(local: SocketAddress, peer: SocketAddress?, room: Int) {
        localAddress = local
        peerAddress = peer
        self.room = room
    }

    func deliver(to receiver: any DatagramReceiver) { self.receiver = receiver }

    func connect(to peer: SocketAddress) { peerAddress = peer }

    func startReceiving() { isReceiving = true }

    func stopReceiving() { isReceiving = false }

    func trySend(_ datagrams: UnsafeBufferPointer<BorrowedDatagram>) -> DatagramSendResult {
        let count = min(room, datagrams.count)
        for index in 0..<count {
            let datagram = unsafe datagrams[index]
            // UDP over IPv4 carries no more: RFC 768, RFC 791.
            guard unsafe datagram.bytes.count <= 65_507 else {
                return index > 0 ? .sent(index) : .failed(.messageTooLong)
            }
            unsafe sent.append(Datagram(Bytes(datagram.bytes.bytes), datagram.address))
            if room != .max { room -= 1 }
        }
        return .sent(count)
    }

    func awaitRoom() { isAwaited = true }

    func join(_ group: MulticastGroup) {}

    func leave(_ group: MulticastGroup) {}

    func close() {
        isOpen = false
        isReceiving = false
        receiver = nil
    }

    /// Delivers what has happened, as a backend does in its turn.
    func poll() {
        while !failures.isEmpty { receiver?.portDidFail(failures.removeFirst()) }
        if isAwaited, room > 0 {
            isAwaited = false
            receiver?.portCanSend()
        }
        guard isReceiving, !arrived.isEmpty else { return }
        let batch = arrived
        arrived = []
        let taken = unsafe withBorrowed(batch) { unsafe receiver?.portDidReceive($0) ?? 0 }
        arrived.insert(contentsOf: batch[taken...], at: 0)
    }
}

/// Lends datagrams to a receiver.
func withBorrowed<Result>(
    _ batch: [Datagram], _ body: (UnsafeBufferPointer<BorrowedDatagram>) -> Result
) -> Result {
    // The batch outlives the call, and with it the bytes.
    let borrowed = batch.map { datagram in
        unsafe datagram.bytes.withUnsafeBytes {
            unsafe BorrowedDatagram(bytes: $0, address: datagram.address)
        }
    }
    defer { extendLifetime(batch) }
    return unsafe borrowed.withUnsafeBufferPointer { unsafe body($0) }
}
