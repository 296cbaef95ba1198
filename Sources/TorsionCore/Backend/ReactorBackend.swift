// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

/// The part of a reactor that a platform must provide; everything else is portable.
///
/// A conformer adds no policy: it has neither timers of its own nor retries nor logging. It is used
/// on one thread, except for its ``waker``. The conformance suite of `TorsionTesting` is this
/// contract in code: a backend that passes it runs every program.
///
/// The life of a backend: `start`, any number of turns, `shutDown`; and again from the start.
///
/// - SeeAlso: ``BackendStream`` and ``StreamReceiver``, the seam for bytes;
///   ``BackendDatagramPort`` and ``DatagramReceiver``, the seam for datagrams.
@_spi(Backend) public protocol ReactorBackend: AnyObject {
    /// Acquires what is bound to a thread. Called on the thread that will turn.
    ///
    /// - Throws: What the kernel refused, for example descriptors running out.
    func start() throws(IOError)

    /// Monotonic time, read once after each wait, at ``start()``, and before it when it is asked for.
    var now: MonotonicInstant { get }

    /// Monotonic time, read now: use it to measure a callback, since ``now`` stands still
    /// meanwhile. By default ``now``, for a backend whose time is not the machine's.
    func readClock() -> MonotonicInstant

    /// Makes a concurrent or the next ``turn(until:)`` return. Valid between start and shut-down.
    var waker: any BackendWaker { get }

    /// Waits for what happens next and delivers it, oldest first, straight to its receivers.
    ///
    /// Returns without a delivery when `deadline` passes or the waker is used. `nil` waits without
    /// limit, a past deadline polls. It may also return early, when a signal interrupts it for one:
    /// the reactor asks again. An error of one connection is delivered to that connection.
    ///
    /// - Parameter deadline: `nil` waits without limit, a past one polls.
    /// - Throws: ``IOError`` of operation `wait` when the kernel refuses the wait itself, for good:
    ///   a seccomp filter, or memory that is short for a second and more. The reactor then ends its
    ///   run, and calls this again only until that has ended; a call that fails waits a moment, so
    ///   that this does not become a busy loop.
    func turn(until deadline: MonotonicInstant?) throws(IOError)

    /// Binds a stream socket and listens. Accepting begins with `startAccepting`.
    ///
    /// - Parameters:
    ///   - address: IPv4, IPv6 or UNIX; port 0 lets the kernel choose.
    ///   - options: How the port and its connections are set up.
    ///   - receiver: Called with each client; held until the listener is closed.
    /// - Returns: A listener that accepts after `startAccepting`.
    /// - Throws: ``IOError`` of operation `listen`, naming the address.
    func listen(
        on address: SocketAddress, options: StreamOptions, receiver: any ListenerReceiver
    ) throws(IOError) -> any BackendListener

    /// Begins to connect. The receiver is called with `streamDidConnect` or `streamDidFail`, later;
    /// closing the stream before that cancels the attempt. A socket that TCP connected to itself
    /// fails with `.connectionRefused`.
    ///
    /// - Parameters:
    ///   - address: IPv4, IPv6 or UNIX.
    ///   - options: How the socket is set up.
    ///   - receiver: Called with the outcome, in a later turn.
    /// - Returns: The stream, which can be closed at once.
    /// - Throws: ``IOError`` of operation `connect` for what fails at once. `.wouldBlock` for a
    ///   UNIX address says that the server's backlog is full: the core tries again until the
    ///   attempt's deadline.
    func connect(
        to address: SocketAddress, options: StreamOptions, receiver: any StreamReceiver
    ) throws(IOError) -> any BackendStream

    /// Binds a socket for datagrams, connected if `options` name a peer. It is not receiving yet.
    ///
    /// - Parameters:
    ///   - address: IPv4, IPv6 or UNIX; port 0 lets the kernel choose.
    ///   - options: How the socket is set up, and its peer if it has one.
    /// - Returns: A port that receives after `startReceiving`.
    /// - Throws: ``IOError`` of operation `listen`, or `connect`, naming the address.
    func bindDatagrams(
        on address: SocketAddress, options: DatagramOptions
    ) throws(IOError) -> any BackendDatagramPort

    /// Makes one stream of two open descriptors, which may be the same or be regular files.
    ///
    /// The descriptors become the stream's, which restores their flags and closes them. One of them
    /// is -1 for a stream of one direction, as the end of a pipe is: without an output every write
    /// fails with `.brokenPipe`, without an input EOF means that the output's last reader has gone.
    ///
    /// - Parameters:
    ///   - input: The descriptor to read from; -1 for a stream that only writes.
    ///   - output: The descriptor to write to; -1 for a stream that only reads. May be the same as
    ///     `input`.
    /// - Returns: The stream, which owns both.
    /// - Throws: ``IOError`` of operation `open`.
    func open(input: Int32, output: Int32) throws(IOError) -> any BackendStream

    /// Uses a duplicate of what somebody has opened: a stream socket that listens or is connected,
    /// or a pipe, a terminal or a file, in the directions that it is open for. The descriptor stays
    /// the caller's. A socket becomes non-blocking, also for other processes that share it.
    ///
    /// - Parameters:
    ///   - descriptor: Stays the caller's.
    ///   - options: Those that can be set on a socket that is bound.
    ///   - receiver: Called with clients, if it listens.
    /// - Returns: A listener or a stream, by what the descriptor is.
    /// - Throws: ``IOError`` of operation `open` that names the descriptor.
    func adopt(
        _ descriptor: Int32, options: StreamOptions, receiver: any ListenerReceiver
    ) throws(IOError) -> AdoptedSocket

    /// Uses a duplicate of a socket for datagrams that somebody made. The descriptor stays the
    /// caller's. It becomes non-blocking, also for other processes that share it. It is not
    /// receiving yet.
    ///
    /// - Parameters:
    ///   - descriptor: Stays the caller's.
    ///   - options: Those that can be set on a socket that is bound.
    /// - Returns: A port that receives after `startReceiving`.
    /// - Throws: ``IOError`` of operation `open` that names the descriptor.
    func adoptDatagrams(
        _ descriptor: Int32, options: DatagramOptions
    ) throws(IOError) -> any BackendDatagramPort

    /// Reports readiness of any pollable descriptor, which stays the caller's.
    ///
    /// - Parameters:
    ///   - descriptor: Stays the caller's, who closes it after the watch.
    ///   - interest: What to wait for; an empty set begins paused.
    ///   - receiver: Called in a turn; held until the watch is cancelled.
    /// - Returns: The watch, to be changed and cancelled by.
    /// - Throws: ``IOError`` of operation `watch`: not open, or of a kind that cannot be waited
    ///   for.
    func watch(
        descriptor: Int32, for interest: Readiness, receiver: any WatchReceiver
    ) throws(IOError) -> any BackendWatch

    /// Whether a descriptor is open, and closed on exec.
    ///
    /// What a process has opened itself should be, and what it has inherited is not. False unless a
    /// backend knows.
    ///
    /// - Parameter descriptor: Any number.
    /// - Returns: False as well if it is not open.
    func isClosedOnExec(_ descriptor: Int32) -> Bool

    /// Descriptors and handles that are open now, those of the backend itself left out.
    var openHandleCount: Int { get }

    /// Bytes that it keeps for streams that are not being read, or that were closed and still send.
    ///
    /// They count for ``Reactor/queueLimitBytes``. 0 unless it says otherwise.
    var heldByteCount: Int { get }

    /// How much memory the process can still get, in bytes, as far as it is known; nil by default.
    /// Asked once, when a reactor starts.
    var availableMemoryByteCount: Int? { get }

    /// How many descriptors the process may have open: `RLIMIT_NOFILE`. By default nil: unlimited.
    var descriptorLimit: Int? { get }

    /// Releases everything. Every stream, listener, port and watch is closed by then.
    func shutDown()
}

/// The kind of an adopted descriptor.
@_spi(Backend) public enum AdoptedSocket {
    /// It listens; accepting begins with `startAccepting`.
    case listener(any BackendListener)
    /// It is connected; the stream is paused and waits for a receiver.
    case stream(any BackendStream)
}

@_spi(Backend) extension ReactorBackend {
    /// False: this backend does not know.
    ///
    /// - Parameter descriptor: Any number.
    /// - Returns: False.
    public func isClosedOnExec(_ descriptor: Int32) -> Bool { false }

    /// Zero: this backend does not hold bytes.
    public var heldByteCount: Int { 0 }

    /// Unknown.
    public var availableMemoryByteCount: Int? { nil }

    /// Nil.
    public var descriptorLimit: Int? { nil }

    /// ``now``.
    public func readClock() -> MonotonicInstant { now }

    /// Fails: a backend need not have descriptors.
    ///
    /// - Parameters:
    ///   - descriptor: Ignored.
    ///   - options: Ignored.
    ///   - receiver: Ignored.
    /// - Returns: Does not return; it throws.
    /// - Throws: ``IOError`` of code ``ErrorCode/notSupported``.
    public func adopt(
        _ descriptor: Int32, options: StreamOptions, receiver: any ListenerReceiver
    ) throws(IOError) -> AdoptedSocket {
        throw IOError(
            .open, function: "", code: .notSupported, subject: "descriptor \(descriptor)")
    }

    /// Fails: a backend need not have descriptors.
    ///
    /// - Parameters:
    ///   - descriptor: Ignored.
    ///   - options: Ignored.
    /// - Returns: Does not return; it throws.
    /// - Throws: ``IOError`` of code ``ErrorCode/notSupported``.
    public func adoptDatagrams(
        _ descriptor: Int32, options: DatagramOptions
    ) throws(IOError) -> any BackendDatagramPort {
        throw IOError(
            .open, function: "", code: .notSupported, subject: "descriptor \(descriptor)")
    }

    /// Fails: a backend for tests of something else need not have datagrams.
    ///
    /// - Parameters:
    ///   - address: Ignored.
    ///   - options: Ignored.
    /// - Returns: Does not return; it throws.
    /// - Throws: ``IOError`` of code ``ErrorCode/notSupported``.
    public func bindDatagrams(
        on address: SocketAddress, options: DatagramOptions
    ) throws(IOError) -> any BackendDatagramPort {
        throw IOError(.listen, function: "", code: .notSupported, subject: address)
    }
}

/// The one part of a backend that any thread may use.
@_spi(Backend) public protocol BackendWaker: Sendable {
    /// Makes the backend's wait return. Not called after ``ReactorBackend/shutDown()``.
    func wake()
}

/// A listening socket of a backend.
@_spi(Backend) public protocol BackendListener: AnyObject {
    /// Where it listens, with the port that the kernel chose.
    var localAddress: SocketAddress { get }

    /// Accepts what comes, in bounded batches, until ``stopAccepting()``. Starts out stopped.
    func startAccepting()

    /// Leaves what comes in the kernel's queue.
    func stopAccepting()

    /// Has later clients find another socket of the same port (`SO_REUSEPORT`), if there may be one and
    /// nobody else has this one: it closes in the next turn, and would reset those who came between the
    /// last accept and that. Empty by default.
    func leaveLaterClients()

    /// Accepts at once the clients that wait now, for a listener that is about to close. Accepting
    /// was stopped in an earlier turn. Empty by default: closing the socket resets those who wait.
    ///
    /// - Parameter limit: The most that are accepted.
    /// - Returns: Their streams, as ``ListenerReceiver/listenerDidAccept(_:)`` is given them; fewer
    ///   than `limit` when the queue is empty, or descriptors have run out.
    func takeWaiting(limit: Int) -> [any BackendStream]

    /// Refuses waiting clients with a descriptor kept in reserve, when all others are in use.
    ///
    /// - Parameter limit: The most that are refused in this call.
    /// - Returns: How many were; fewer than `limit` when the queue is empty, or the reserve was
    ///   lost.
    func shed(limit: Int) -> Int

    /// The descriptor, of which other reactors of a group may adopt duplicates; nil, the default,
    /// without one.
    var sharedDescriptor: Int32? { get }

    /// Whether ``close()`` removes the file of a UNIX socket. Setting it to true takes over the
    /// file that is at the address now, setting it to false leaves it to somebody else. By default
    /// false, and setting it is ignored.
    var ownsFile: Bool { get set }

    /// Closes the socket. Its address can be bound again when this returns.
    func close()
}

@_spi(Backend) extension BackendListener {
    /// Nil: duplicates are not to be had.
    public var sharedDescriptor: Int32? { nil }

    /// False.
    public var ownsFile: Bool {
        get { false }
        set {}
    }

    /// Leaves none: those who come are accepted, or reset.
    public func leaveLaterClients() {}

    /// Takes zero clients.
    ///
    /// - Parameter limit: Ignored.
    /// - Returns: An empty list.
    public func takeWaiting(limit: Int) -> [any BackendStream] { [] }
}

@_spi(Backend) extension BackendDatagramPort {
    /// Nil: duplicates are not to be had.
    public var sharedDescriptor: Int32? { nil }
}

/// The events of a listener, as the core receives them.
@_spi(Backend) public protocol ListenerReceiver: AnyObject {
    /// A client came. The stream is paused and waits for a receiver.
    ///
    /// - Parameter stream: The receiver's from now on: to be given a receiver or closed.
    func listenerDidAccept(_ stream: any BackendStream)

    /// Accepting failed for want of descriptors or memory, or a whole batch failed otherwise;
    /// clients are still waiting.
    ///
    /// The rest of the batch is not tried. Errors of one client are not reported: it is skipped.
    ///
    /// - Parameter code: For example ``ErrorCode/tooManyOpenFiles``.
    func listenerDidFail(_ code: ErrorCode)
}

/// A descriptor that is watched for readiness.
@_spi(Backend) public protocol BackendWatch: AnyObject {
    /// Changes what is waited for; an empty set pauses the watch.
    ///
    /// - Parameter interest: Replaces the former set.
    func update(_ interest: Readiness)

    /// Ends the watch, and deliveries at once. The descriptor stays open.
    func close()
}

/// The events of a watch, as the core receives them.
@_spi(Backend) public protocol WatchReceiver: AnyObject {
    /// The descriptor is ready, or has ended; reading or writing it tells which.
    ///
    /// - Parameter readiness: The part of the interest that is ready; never empty.
    func watchDidBecomeReady(_ readiness: Readiness)

    /// The descriptor can no longer be watched, for example because the program closed it. Once,
    /// last.
    ///
    /// - Parameter code: Why.
    func watchDidFail(_ code: ErrorCode)
}

/// The kinds of readiness to wait for.
public struct Readiness: OptionSet, Sendable {
    /// The bits.
    public let rawValue: UInt8

    /// Makes a set of its bits.
    ///
    /// - Parameter rawValue: Bits as those of the constants; others are kept.
    public init(rawValue: UInt8) { self.rawValue = rawValue }

    /// Reading would not block: there are bytes, the end, or an error.
    public static let readable = Readiness(rawValue: 1)
    /// Writing would not block.
    public static let writable = Readiness(rawValue: 2)
}
