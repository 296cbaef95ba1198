// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

#if IOUring

internal import CTorsionSockets
internal import CTorsionURing
@_spi(Backend) internal import TorsionCore
@_spi(Backend) internal import TorsionSockets

/// The backend over `io_uring(7)`.
///
/// Streams and listeners are operations of the ring. Datagrams, watches and streams over descriptors
/// are the shared code of `TorsionSockets` over a ``URingPoller``, in the same turn and the same
/// call. So are UNIX streams and adopted sockets, since they carry descriptors, and all streams where
/// the kernel has no ring of provided buffers.
final class URingBackend: ReactorBackend {
    let ring: Ring
    /// What is not the ring's own.
    let others: SocketBackend

    /// Streams and listeners of the ring that are open.
    @exclusivity(unchecked) var openStreamCount = 0

    init(_ configuration: Ring.Configuration = Ring.Configuration()) {
        ring = Ring(configuration)
        others = SocketBackend(poller: URingPoller(ring: ring))
    }

    func start() throws(IOError) { try others.start() }

    private func hasOwnStreams(for address: SocketAddress) -> Bool {
        if case .unix = address { return false }
        return ring.has(TORSION_URING_BUFFERS)
    }

    var now: MonotonicInstant { others.now }

    func readClock() -> MonotonicInstant { others.readClock() }

    var waker: any BackendWaker { others.waker }

    func turn(until deadline: MonotonicInstant?) throws(IOError) {
        try others.turn(until: deadline)
    }

    func listen(
        on address: SocketAddress, options: StreamOptions, receiver: any ListenerReceiver
    ) throws(IOError) -> any BackendListener {
        guard hasOwnStreams(for: address) else {
            return try others.listen(on: address, options: options, receiver: receiver)
        }
        return try URingListener(
            backend: self, address: address, options: options, receiver: receiver)
    }

    func connect(
        to address: SocketAddress, options: StreamOptions, receiver: any StreamReceiver
    ) throws(IOError) -> any BackendStream {
        guard hasOwnStreams(for: address) else {
            return try others.connect(to: address, options: options, receiver: receiver)
        }
        return try URingStream(
            backend: self, connectingTo: address, options: options, receiver: receiver)
    }

    func bindDatagrams(
        on address: SocketAddress, options: DatagramOptions
    ) throws(IOError) -> any BackendDatagramPort {
        try others.bindDatagrams(on: address, options: options)
    }

    func open(input: Int32, output: Int32) throws(IOError) -> any BackendStream {
        try others.open(input: input, output: output)
    }

    func adopt(
        _ descriptor: Int32, options: StreamOptions, receiver: any ListenerReceiver
    ) throws(IOError) -> AdoptedSocket {
        try others.adopt(descriptor, options: options, receiver: receiver)
    }

    func isClosedOnExec(_ descriptor: Int32) -> Bool { others.isClosedOnExec(descriptor) }

    func adoptDatagrams(
        _ descriptor: Int32, options: DatagramOptions
    ) throws(IOError) -> any BackendDatagramPort {
        try others.adoptDatagrams(descriptor, options: options)
    }

    func watch(
        descriptor: Int32, for interest: Readiness, receiver: any WatchReceiver
    ) throws(IOError) -> any BackendWatch {
        try others.watch(descriptor: descriptor, for: interest, receiver: receiver)
    }

    /// What arrived for streams after they had stopped reading.
    @exclusivity(unchecked) var heldByteCount = 0

    var availableMemoryByteCount: Int? { others.availableMemoryByteCount }

    var descriptorLimit: Int? { others.descriptorLimit }

    var openHandleCount: Int { openStreamCount + others.openHandleCount }

    func shutDown() {
        precondition(openStreamCount == 0, "URingBackend: shut down with handles open")
        others.shutDown()
    }
}

#endif
