// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

internal import CTorsionSockets
internal import Glibc
@_spi(Backend) public import TorsionCore

/// How much memory the process can still get, as far as anybody can tell.
package func availableMemoryByteCount() -> Int? {
    let count = torsion_available_memory()
    return count >= 0 ? Int(count) : nil
}

/// The backend for readiness pollers: sockets, built once over any ``Poller``.
///
/// The bytes are moved by our own system calls (`recv`, `send`, `sendmsg`) on descriptors that the
/// poller only watches. Measured: an echo over `uv_poll_t` with its own calls needs 150 user-space
/// instructions a message, over `uv_tcp_t` 329; and libuv's own streams cannot survive descriptors
/// running out, notice a reset while paused, or avoid SIGPIPE.
@_spi(Backend) public final class SocketBackend: ReactorBackend {
    /// A read takes at most this much.
    ///
    /// Large enough that bulk input is few calls, small enough to stay in the second-level cache.
    static let slabByteCount = 64 * 1024

    let poller: any Poller
    /// Where every read lands; borrowed to a receiver for the length of a call.
    let slab: UnsafeMutableRawPointer

    /// Where datagrams land and leave from; made for the first port.
    private(set) lazy var datagramSlab = DatagramSlab()

    /// What relayed bytes pass through; made for the first that are worth it, nil if it cannot be
    /// had now.
    var splicePipe: SplicePipe? {
        if let channel, channel.isUsable { return channel }
        guard now >= nextChannel else { return nil }
        channel = SplicePipe()
        nextChannel = now.advanced(by: .seconds(1))
        return channel
    }

    private var channel: SplicePipe?
    /// When to try again to make one.
    private var nextChannel = MonotonicInstant(nanoseconds: 0)

    /// Sockets, listeners, ports and watches that are open.
    @exclusivity(unchecked) public internal(set) var openHandleCount = 0

    /// A descriptor kept to be given up, so that a client can be refused when none is left.
    private var reserve: Int32 = -1
    /// Targets that cannot be polled because they are always ready: regular files.
    @exclusivity(unchecked) private var alwaysReady: [PollTarget] = []
    /// Targets that the poller refused inside a call of the core, which may not be called back there:
    /// the next turn tells them.
    @exclusivity(unchecked) private var refusals: [(target: PollTarget, code: ErrorCode)] = []
    /// Whether a turn has something to do besides waiting.
    @exclusivity(unchecked) private var hasOwnWork = false

    /// Sockets over a poller that has not started.
    ///
    /// - Parameter poller: Owned by the backend.
    public init(poller: any Poller) {
        self.poller = poller
        slab = .allocate(byteCount: Self.slabByteCount, alignment: 64)
    }

    deinit { slab.deallocate() }

    /// Starts the poller.
    ///
    /// SIGPIPE is ignored for the whole process, unless it has a handler: a peer that goes away
    /// must not end the process, and not every write can say `MSG_NOSIGNAL`. A standard stream that
    /// the parent left closed becomes `/dev/null`, so that a descriptor of ours cannot get its
    /// number.
    public func start() throws(IOError) {
        torsion_ignore_sigpipe()
        try fillStandardStreams()
        try poller.start()
        reopenReserve()
    }

    /// The memory that the address space, the control group and the machine leave, whichever is
    /// least.
    public var availableMemoryByteCount: Int? { TorsionSockets.availableMemoryByteCount() }

    private func fillStandardStreams() throws(IOError) {
        guard torsion_fill_standard_streams() != 0 else { return }
        throw IOError(
            .open, function: "open", code: ErrorCode(errno: errno), subject: "/dev/null")
    }

    /// The poller's time.
    public var now: MonotonicInstant { poller.now }

    /// `clock_gettime(2)`, `CLOCK_MONOTONIC`, as every poller's time.
    public func readClock() -> MonotonicInstant {
        MonotonicInstant(nanoseconds: torsion_monotonic_nanoseconds())
    }

    /// The poller's waker.
    public var waker: any BackendWaker { poller.waker }

    /// `getrlimit(2)`, asked each time.
    public var descriptorLimit: Int? {
        var limit = rlimit()
        guard getrlimit(__rlimit_resource_t(RLIMIT_NOFILE.rawValue), &limit) == 0 else {
            return nil
        }
        return Int(clamping: limit.rlim_cur)
    }

    /// Waits once and delivers.
    ///
    /// - Parameter deadline: `nil` waits without limit, a past one polls.
    /// - Throws: `IOError` of operation `wait`, as `ReactorBackend.turn(until:)` says.
    public func turn(until deadline: MonotonicInstant?) throws(IOError) {
        guard hasOwnWork else { return try poller.wait(until: deadline) }
        try poller.wait(until: MonotonicInstant(nanoseconds: 0))
        for target in alwaysReady where isAlwaysReady(target) {
            target.ready([.readable, .writable])
        }
        // What is refused meanwhile is told in the next turn.
        for _ in 0..<refusals.count {
            guard let refusal = refusals.first else { break }
            forgetRefusal(of: refusal.target)
            refusal.target.watchWasRefused(refusal.code)
        }
    }

    /// Binds and listens.
    ///
    /// - Parameters:
    ///   - address: IPv4, IPv6 or UNIX; port 0 lets the kernel choose.
    ///   - options: How the port and its connections are set up.
    ///   - receiver: Called with each client.
    /// - Returns: A listener that accepts after `startAccepting`.
    /// - Throws: `IOError` of operation `listen`, naming the address.
    public func listen(
        on address: SocketAddress, options: StreamOptions, receiver: any ListenerReceiver
    ) throws(IOError) -> any BackendListener {
        try SocketListener(backend: self, address: address, options: options, receiver: receiver)
    }

    /// Begins to connect.
    ///
    /// - Parameters:
    ///   - address: IPv4, IPv6 or UNIX.
    ///   - options: How the socket is set up.
    ///   - receiver: Called with the outcome, in a later turn.
    /// - Returns: The stream, which can be closed at once.
    /// - Throws: `IOError` of operation `connect`, naming the address.
    public func connect(
        to address: SocketAddress, options: StreamOptions, receiver: any StreamReceiver
    ) throws(IOError) -> any BackendStream {
        try SocketStream(backend: self, connectingTo: address, options: options, receiver: receiver)
    }

    /// Binds a socket for datagrams.
    ///
    /// - Parameters:
    ///   - address: IPv4, IPv6 or UNIX; port 0 lets the kernel choose.
    ///   - options: How the socket is set up, and its peer if it has one.
    /// - Returns: A port that receives after `startReceiving`.
    /// - Throws: `IOError` of operation `listen` or `connect`, naming the address.
    public func bindDatagrams(
        on address: SocketAddress, options: DatagramOptions
    ) throws(IOError) -> any BackendDatagramPort {
        try SocketDatagramPort(backend: self, address: address, options: options)
    }

    /// Joins two descriptors to a stream.
    ///
    /// - Parameters:
    ///   - input: The descriptor to read from; -1 for a stream that only writes.
    ///   - output: The descriptor to write to; -1 for a stream that only reads.
    /// - Returns: The stream, which owns both.
    /// - Throws: `IOError` of operation `open`.
    public func open(input: Int32, output: Int32) throws(IOError) -> any BackendStream {
        try DescriptorStream(backend: self, input: input, output: output)
    }

    /// Listens or reads with a duplicate of a descriptor, which need not be a socket.
    ///
    /// - Parameters:
    ///   - descriptor: Stays the caller's.
    ///   - options: Those that can be set on what is open already.
    ///   - receiver: Called with each client, if it listens.
    /// - Returns: A listener or a stream, by what the descriptor is.
    /// - Throws: `IOError` of operation `open` that names the descriptor.
    public func adopt(
        _ descriptor: Int32, options: StreamOptions, receiver: any ListenerReceiver
    ) throws(IOError) -> AdoptedSocket {
        if isFile(descriptor) { return .stream(try adoptFile(descriptor)) }
        let own = try duplicate(of: descriptor, SOCK_STREAM)
        do throws(IOError) {
            let subject = "descriptor \(descriptor)"
            let address = try boundAddress(of: own, .open, subject: subject)
            // As for a socket that connects: what is set on one that listens must precede `bind`.
            try configure(own, for: address, options, .open)
            if integerOption(own, SOL_SOCKET, SO_ACCEPTCONN) == 1 {
                return .listener(
                    SocketListener(backend: self, adopted: own, at: address, receiver: receiver))
            }
            guard let peer = peerAddress(of: own) else {
                let number = errno
                // One that was reset before it came here.
                let code = pendingError(of: own) ?? ErrorCode(errno: number)
                throw IOError(
                    .open, function: "getpeername", code: code, subject: subject)
            }
            return .stream(SocketStream(backend: self, accepted: own, from: peer, isShared: true))
        } catch {
            Glibc.close(own)
            throw error
        }
    }

    /// `FD_CLOEXEC`.
    ///
    /// - Parameter descriptor: Any number.
    /// - Returns: Whether it is open, and closed on exec.
    public func isClosedOnExec(_ descriptor: Int32) -> Bool {
        let flags = fcntl(descriptor, F_GETFD)
        return flags >= 0 && flags & FD_CLOEXEC != 0
    }

    /// Receives with a duplicate of a descriptor.
    ///
    /// - Parameters:
    ///   - descriptor: Stays the caller's.
    ///   - options: Those that can be set on what is open already.
    /// - Returns: A port that receives after `startReceiving`.
    /// - Throws: `IOError` of operation `open` that names the descriptor.
    public func adoptDatagrams(
        _ descriptor: Int32, options: DatagramOptions
    ) throws(IOError) -> any BackendDatagramPort {
        let own = try duplicate(of: descriptor, SOCK_DGRAM)
        return try SocketDatagramPort(backend: self, adopted: own, options: options)
    }

    /// Watches a descriptor.
    ///
    /// - Parameters:
    ///   - descriptor: Stays the caller's.
    ///   - interest: What to wait for; an empty set begins paused.
    ///   - receiver: Called in a turn.
    /// - Returns: The watch, to be changed and cancelled by.
    /// - Throws: `IOError` of operation `watch`.
    public func watch(
        descriptor: Int32, for interest: Readiness, receiver: any WatchReceiver
    ) throws(IOError) -> any BackendWatch {
        try SocketWatch(
            backend: self, descriptor: descriptor, interest: interest, receiver: receiver)
    }

    /// Releases the poller.
    public func shutDown() {
        precondition(openHandleCount == 0, "SocketBackend: shut down with handles open")
        closeReserve()
        channel = nil
        poller.shutDown()
    }

    // MARK: The reserve

    /// Refuses clients who wait at a listening socket: accepts them with the descriptor that is kept
    /// in reserve, and closes them.
    ///
    /// - Returns: How many were; fewer than `limit` when none is left, or the reserve was lost.
    package func refuse(limit: Int, from descriptor: Int32) -> Int {
        var count = 0
        while count < limit {
            let refused = withReserveReleased { () -> Bool in
                var address = sockaddr_storage()
                var size = socklen_t(MemoryLayout<sockaddr_storage>.size)
                let accepted = torsion_accept(descriptor, &address, &size)
                guard accepted >= 0 else { return false }
                close(accepted)
                return true
            }
            guard refused == true else { break }
            count += 1
        }
        return count
    }

    /// Gives up the reserve for the length of `body`, and takes it again.
    ///
    /// - Returns: What `body` returns, or nil if there is no reserve and none could be taken: another
    ///   thread was quicker.
    private func withReserveReleased<Result>(_ body: () -> Result) -> Result? {
        if reserve < 0 { reopenReserve() }
        guard reserve >= 0 else { return nil }
        closeReserve()
        defer { reopenReserve() }
        return body()
    }

    private func reopenReserve() {
        if reserve < 0 { reserve = Glibc.open("/dev/null", O_RDONLY | O_CLOEXEC) }
    }

    private func closeReserve() {
        guard reserve >= 0 else { return }
        close(reserve)
        reserve = -1
    }

    // MARK: What cannot be polled

    func addAlwaysReady(_ target: PollTarget) {
        alwaysReady.append(target)
        hasOwnWork = true
    }

    func removeAlwaysReady(_ target: PollTarget) {
        alwaysReady.removeAll { $0 === target }
        hasOwnWork = !alwaysReady.isEmpty || !refusals.isEmpty
    }

    /// Watches a target for the core.
    ///
    /// If the poller refuses, the next turn tells the target.
    ///
    /// - Returns: Whether it is watched.
    func watch(_ target: PollTarget, for events: PollEvents) -> Bool {
        forgetRefusal(of: target)
        guard let code = poller.add(target, for: events) else { return true }
        refuse(target, code)
        return false
    }

    func refuse(_ target: PollTarget, _ code: ErrorCode) {
        refusals.append((target, code))
        hasOwnWork = true
    }

    /// It is watched by now, or does not want to be.
    func forgetRefusal(of target: PollTarget) {
        guard !refusals.isEmpty else { return }
        refusals.removeAll { $0.target === target }
        hasOwnWork = !alwaysReady.isEmpty || !refusals.isEmpty
    }

    private func isAlwaysReady(_ target: PollTarget) -> Bool {
        alwaysReady.contains { $0 === target }
    }
}
