// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

@_spi(Backend) public import TorsionCore

/// A connection without a socket: a test plays its peer.
///
/// The protocol sees a real transport, the engine's own; only the kernel is replaced.
///
///     let room = Room(), ann = MemoryTransport(Chat(room)), bob = MemoryTransport(Chat(room))
///     ann.receive("hi\r\n")
///     #expect(bob.takeText().hasSuffix(": hi\r\n"))
///
/// - SeeAlso: Twisted `StringTransport`.
public final class MemoryTransport {
    /// The clock that timers of this connection go by.
    public let clock: ManualClock

    /// The protocol's transport; set from `connectionMade` on, which with filters comes after their
    /// handshakes.
    public private(set) var transport: (any StreamTransport)!

    private let stream: MemoryStream

    /// Connects, and calls `connectionMade`.
    ///
    /// - Parameters:
    ///   - proto: The protocol under test.
    ///   - clock: Shared by connections that belong together; nil makes one.
    ///   - roomBytes: The bytes that the peer's side takes before it is full; unlimited unless it
    ///     is set, see ``drain(_:)``.
    ///   - options: As for a connection over sockets.
    ///   - layers: The filters and observers of the connection, as a port has them.
    ///   - peerAddress: The peer's address, as the protocol sees it.
    ///   - localAddress: The local address, as the protocol sees it.
    public init(
        _ proto: any StreamProtocol, clock: ManualClock? = nil, roomBytes: Int = .max,
        options: StreamOptions = StreamOptions(), layers: StreamLayers = StreamLayers(),
        peerAddress: SocketAddress = .ipv4(.loopback, port: 40_000),
        localAddress: SocketAddress = .ipv4(.loopback, port: 80)
    ) {
        let clock = clock ?? ManualClock()
        self.clock = clock
        stream = MemoryStream(peer: peerAddress, local: localAddress, room: roomBytes)
        clock.backend.streams.append(stream)
        if layers.isEmpty {
            transport = clock.reactor.adopt(stream, proto, options: options)
        } else {
            clock.reactor.serve(stream, proto, options: options, layers: layers) { [self] in
                transport = $0
            }
        }
        if !clock.reactor.isInsideEvent { clock.turn() }
    }

    /// Whether the protocol still has its connection.
    public var isOpen: Bool {
        stream.isOpen && !((transport as? any LossReporting)?.isLost ?? false)
    }

    /// Whether the engine reads from the kernel now.
    public var isReading: Bool { stream.isReading }

    /// Whether the protocol's side has shut down writing, so that a peer would see the end.
    public var hasEnded: Bool { stream.hasShutDown || !stream.isOpen }

    /// Whether the protocol's side has reset the connection; as a kernel does, also if it closed with
    /// input unread, or if the peer sent something after it had closed.
    public var wasReset: Bool { stream.wasReset }

    /// The peer sends bytes; each call is one read.
    ///
    /// - Parameter bytes: At least one; copied.
    public func receive(_ bytes: RawSpan) { deliver { stream.receive(bytes) } }

    /// The peer sends text.
    ///
    /// - Parameter text: At least one byte of UTF-8; one read.
    public func receive(_ text: String) { receive(Bytes(text)) }

    /// The peer sends bytes.
    ///
    /// - Parameter bytes: At least one; one read.
    public func receive(_ bytes: Bytes) { receive(bytes.span) }

    /// The peer sends pieces, each one read.
    ///
    /// - Parameter pieces: In their order; see ``chunkings(of:)``.
    public func receive(pieces: [Bytes]) {
        for piece in pieces { receive(piece) }
    }

    /// The peer ends its direction.
    public func peerCloses() { deliver { stream.receiveEnd() } }

    /// The peer resets the connection.
    public func peerResets() {
        deliver { stream.fail(IOError(.read, function: "recv", code: .connectionReset)) }
    }

    /// The peer takes so many of the bytes that wait for it.
    ///
    /// - Parameter byteCount: `.max` makes the room unlimited.
    public func drain(_ byteCount: Int = .max) { deliver { stream.drain(byteCount) } }

    /// The bytes that the peer got since the last call.
    public func takeBytes() -> Bytes {
        let taken = Bytes(stream.arrived)
        stream.arrived = []
        return taken
    }

    /// The bytes that the peer got since the last call, as text.
    public func takeText() -> String { String(decoding: takeBytes().span) }

    /// Inside a callback, what the peer does is met by the clock's next turn.
    private func deliver(_ body: () -> Void) {
        body()
        if !clock.reactor.isInsideEvent { clock.turn() }
    }
}

/// Every way to cut bytes into two pieces, all into single bytes, and not at all.
///
/// A protocol must give the same result for each.
///
/// - Parameter bytes: Any number.
/// - Returns: Ways, each a list of pieces that make up `bytes`.
public func chunkings(of bytes: Bytes) -> [[Bytes]] {
    guard bytes.count > 1 else { return [[bytes]] }
    let halves = (1..<bytes.count).map { [bytes[..<$0], bytes[$0...]] }
    return [[bytes]] + halves + [(0..<bytes.count).map { bytes[$0...$0] }]
}

/// The kernel's part, played by arrays.
final class MemoryStream: BackendStream {
    let peerAddress: SocketAddress
    let localAddress: SocketAddress
    var arrived: [UInt8] = []
    private(set) var isReading = false
    private(set) var isOpen = true
    private(set) var hasShutDown = false
    private(set) var wasReset = false
    private var room: Int
    private var receiver: (any StreamReceiver)?
    private var queue: WriteQueue?
    /// What came while nobody read, and whether the end came behind it.
    private var held = PieceQueue<Bytes>()
    private var isEndHeld = false
    private var failure: IOError?

    init(peer: SocketAddress, local: SocketAddress, room: Int) {
        peerAddress = peer
        localAddress = local
        self.room = room
    }

    let needsDraining = true

    /// What the peer's kernel has not taken: here it takes at once what it has room for.
    var unsentByteCount: Int? { 0 }

    var hasUnreadInput: Bool { !held.isEmpty }

    func discardInput() { held = PieceQueue() }

    func deliver(to receiver: any StreamReceiver) { self.receiver = receiver }

    func startReading() { isReading = true }

    func stopReading() { isReading = false }

    func tryWrite(
        _ first: UnsafeRawBufferPointer, _ second: UnsafeRawBufferPointer
    ) -> WriteResult {
        // As a kernel does: what is written behind the end is the core's mistake, not to be hidden.
        if hasShutDown { return .failed(.brokenPipe) }
        let before = room
        unsafe take(first)
        if unsafe room > 0 || first.isEmpty { unsafe take(second) }
        return .wrote(before - room)
    }

    func startWriting(from queue: WriteQueue) { self.queue = queue }

    func shutdownWriting() -> ErrorCode? {
        hasShutDown = true
        return nil
    }

    func close() {
        if !held.isEmpty { wasReset = true }
        isOpen = false
        isReading = false
        receiver = nil
        queue = nil
    }

    func reset() {
        wasReset = true
        close()
    }

    // MARK: The peer

    func receive(_ bytes: RawSpan) {
        guard isOpen else { return wasReset = true }
        held.append(Bytes(bytes))
    }

    func receiveEnd() { isEndHeld = true }

    func fail(_ error: IOError) { failure = error }

    func drain(_ byteCount: Int) {
        let (sum, isTooLarge) = room.addingReportingOverflow(byteCount)
        room = isTooLarge ? .max : sum
    }

    /// Delivers what has happened, as a backend does in its turn.
    func poll() {
        readHeld()
        if let failure = failure.take() {
            queue = nil
            receiver?.streamDidFail(failure)
        }
        writeQueue()
        readHeld()
    }

    private func writeQueue() {
        while let queue, !queue.isEmpty, room > 0 {
            let before = room
            unsafe queue.withHead { runs in
                for index in 0..<runs.count where room > 0 { unsafe take(runs[index]) }
            }
            receiver?.streamDidWrite(byteCount: before - room)
        }
        if queue?.isEmpty ?? false { queue = nil }
    }

    private func readHeld() {
        while isReading, let next = held.popFirst() {
            receiver?.streamDidRead(next.span)
        }
        if isReading, held.isEmpty, isEndHeld {
            isEndHeld = false
            isReading = false
            receiver?.streamDidReadEnd()
        }
    }

    private func take(_ bytes: UnsafeRawBufferPointer) {
        let count = min(room, bytes.count)
        unsafe arrived.append(contentsOf: bytes[..<count])
        room -= count
    }
}
