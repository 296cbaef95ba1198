// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

internal import CTorsionCore
internal import Synchronization

/// Waits for events on one thread and delivers them to the objects that it made.
///
/// A reactor and everything that it makes are bound to the thread that runs it, without locks or
/// atomics: the compiler refuses to share them, and a call from another thread while it runs
/// traps. Other threads use ``remote``. A process may have many reactors; one that stopped may run
/// again.
///
///     Reactor.main { reactor in
///         try ServerEndpoint(parsing: "tcp:8007").listen(on: reactor) { Echo() }
///     }
///
/// One turn, in this order: calls from other threads; timers that are due; input and output; jobs
/// of async code, which run after each of the first two as well; the ends of connections. Work that
/// a callback schedules runs in a later turn, never inside it.
///
/// A program begins with `Reactor.main`, a function or a test uses `Reactor.run`.
///
/// - SeeAlso: Twisted `IReactorCore`, `IReactorTime`; libuv's `design.rst`.
public final class Reactor {
    /// The reactor's number in the process, counted from 1.
    public let number: UInt32

    /// The name of its backend, for example "epoll".
    public let backendName: String

    /// Called with errors that lack another receiver: an error in a delayed call, a thread call or
    /// a watch, the failure of a Deferred without an errback; and with the loss of a connection
    /// whose protocol threw, or wrote on beyond ``Watermarks/limit``, after `connectionLost`.
    ///
    /// By default prints one line on standard error, within the limits of
    /// ``UnhandledError/printToStandardError()``.
    @exclusivity(unchecked) public var unhandledError: (UnhandledError) -> Void = {
        $0.printToStandardError()
    }

    /// Called with an event that took longer than ``slowEventLimit``, before the reactor waits again.
    ///
    /// Nil, the default, prints one line on standard error, within the limits of
    /// ``UnhandledError/printToStandardError()``.
    @exclusivity(unchecked) public var slowEvent: ((SlowEvent) -> Void)?

    /// Closures for the events of every connection: see ``ConnectionHooks``.
    @exclusivity(unchecked) public var connectionObserver = ConnectionHooks()

    package let backend: any ReactorBackend
    /// Over each of its streams: see ``BackendChoice``.
    let streamFilters: [FilterMaker]
    let endFilters: EndFilters

    // Thread and life. See ReactorLife.swift.
    @exclusivity(unchecked) var life = ReactorLife()
    @exclusivity(unchecked) var triggers = TriggerTable()
    /// See EndOfRun.swift.
    @exclusivity(unchecked) var refusals: [() -> Void] = []
    /// The thread that runs this reactor, 0 while none does.
    @exclusivity(unchecked) private var owner: UInt = 0
    let inbox: Inbox
    /// Those of the inbox that this turn runs.
    @exclusivity(unchecked) var takenCalls = CallChain()

    /// Runs async code on this reactor's thread: for actors that live there.
    public let executor: ReactorExecutor

    // Time. See DelayedCall.swift.
    @exclusivity(unchecked) var timers = TimerWheel<DelayedBody>()
    /// The backend's time while it stands still; see ``presentTime``.
    @exclusivity(unchecked) private var cachedNow = MonotonicInstant(nanoseconds: 0)
    @exclusivity(unchecked) private var mayHoldTime = false

    // Events. See EndOfEvent.swift.
    @exclusivity(unchecked) var eventDepth = 0
    @exclusivity(unchecked) var flushList: [any EndOfEventFlushing] = []
    let coalescingPool = CoalescingPool()
    /// See Observation/EventMeter.swift.
    @exclusivity(unchecked) var meter: EventMeter?
    @exclusivity(unchecked) var slowLimit: Duration?

    // What all queues hold. See QueueAccount.swift.
    package let queues = QueueAccount()
    @exclusivity(unchecked) var hasQueueLimit = false
    @exclusivity(unchecked) var lastQueueReport: MonotonicInstant?
    @exclusivity(unchecked) var queueCall: DelayedCall?
    @exclusivity(unchecked) var lastRelease: MonotonicInstant?

    // What is open.
    @exclusivity(unchecked) var connections = SlotTable<StreamConnection>()
    /// Connections of the server's own clients that are not done: a stop waits for them first.
    @exclusivity(unchecked) var servedConnections = 0
    @exclusivity(unchecked) var attempts = SlotTable<ConnectAttempt>()
    @exclusivity(unchecked) var agreements = SlotTable<Agreement>()
    /// How many of them are accepted clients'.
    var clientHandshakes = 0
    @exclusivity(unchecked) var ports = SlotTable<ListeningPort>()
    /// Ports that have closed, whose connections end: see PortDrain.swift.
    @exclusivity(unchecked) var drains: [PortDrain] = []
    @exclusivity(unchecked) var datagramPorts = SlotTable<DatagramPort>()
    @exclusivity(unchecked) var watches = SlotTable<DescriptorWatch>()
    /// In the order in which they ended; the table keeps them alive until they were told.
    @exclusivity(unchecked) var lostConnections: [Unmanaged<StreamConnection>] = []
    @exclusivity(unchecked) var spareLost: [Unmanaged<StreamConnection>] = []
    @exclusivity(unchecked) var stoppedDatagramPorts: [DatagramPort] = []
    @exclusivity(unchecked) var readyPullConnections: [StreamConnection] = []
    /// Filters that hold something for a connection which reads again.
    @exclusivity(unchecked) var readyFilters: [StreamFilter] = []
    /// Streams of connections that were closed here.
    private(set) lazy var lingering = LingeringStreams(reactor: self)
    @exclusivity(unchecked) var lossWatches: [ConnectionID: (ConnectionLoss) -> Void] = [:]
    @exclusivity(unchecked) var guests: [any LoopGuest] = []
    @exclusivity(unchecked) var companions: [ObjectIdentifier: any ReactorCompanion] = [:]
    @exclusivity(unchecked) var remoteObjects: [UInt64: AnyObject] = [:]
    @exclusivity(unchecked) var nextRemoteObject: UInt64 = 0
    @exclusivity(unchecked) var nextConnection: UInt64 = 0
    /// See HalfCloseableProtocol.
    @exclusivity(unchecked) var kindWithoutHalves: ObjectIdentifier?
    @exclusivity(unchecked) var counters = ReactorStatistics()
    @exclusivity(unchecked) var errorLines = ErrorLines()
    @exclusivity(unchecked) var threadWork = ThreadWork()
    /// Where seeds come from; nil until one is drawn.
    ///
    /// See SeededGenerator.swift.
    @exclusivity(unchecked) package var chance: SeededGenerator?
    /// Where Deferreds were fired, in debugging mode: see DeferredDebugging.swift.
    @exclusivity(unchecked) var firingPlaces: [ObjectIdentifier: ProgramPlace] = [:]
    @exclusivity(unchecked) var keepsPlaces = false

    // Tasks. See Async/WaitTable.swift and Async/Spawning.swift.
    @exclusivity(unchecked) var waits = WaitTable()
    @exclusivity(unchecked) var tasks = SlotTable<SpawnedTask>()

    private let makeServices: (@Sendable (Reactor) throws(IOError) -> any ReactorServices)?
    @exclusivity(unchecked) var services: (any ReactorServices)?
    /// The ports that a group of reactors shares, if this one belongs to a group.
    @exclusivity(unchecked) package var group: GroupPorts?
    /// Which of its members it is, from 0.
    @exclusivity(unchecked) package var groupIndex: Int?

    private static let count = Atomic<UInt32>(0)

    /// Makes a reactor that is not running and may be handed, whole, to another thread.
    ///
    /// - Parameters:
    ///   - backend: The event backend.
    ///   - services: Makes the names, signals, threads and files, when it is first used; nil leaves
    ///     a reactor that connects to numeric addresses only.
    public init(
        backend: BackendChoice,
        services: (@Sendable (Reactor) throws(IOError) -> any ReactorServices)?
    ) {
        number = Reactor.count.wrappingAdd(1, ordering: .relaxed).newValue
        backendName = backend.name
        self.backend = backend.makeBackend()
        streamFilters = backend.filters
        endFilters = backend.endFilters
        makeServices = services
        inbox = Inbox()
        executor = ReactorExecutor(inbox: inbox)
        queues.whenOver = { [unowned self] in backOffFromQueues() }
        queues.whenDrained = { [unowned self] in releaseMemoryLater() }
    }

    deinit {
        queues.whenDrained = {}
        executor.queue.append(contentsOf: inbox.abandon())
        executor.queue.abandonRest()
        require(
            !life.isStarted || backend.openHandleCount == 0,
            "Reactor: released with \(backend.openHandleCount) handles open; call shutDown first")
        if life.isStarted { backend.shutDown() }
    }

    /// Monotonic time as of the latest wait; delayed calls count from it.
    public var now: MonotonicInstant {
        checkThread()
        return presentTime
    }

    /// ``now``, for who has checked the thread.
    ///
    /// From one wait of the backend to the next its time stands still, so inside a turn it is asked
    /// once: two calls through protocols are a tenth of what a timer costs. Outside of turns
    /// somebody may move a clock by hand.
    @inline(__always)
    var presentTime: MonotonicInstant {
        hasCachedNow ? cachedNow : askForTime()
    }

    /// Whether ``presentTime`` need not ask.
    @inline(__always)
    var hasCachedNow: Bool { cachedNow.nanoseconds != 0 }

    @inline(never)
    private func askForTime() -> MonotonicInstant {
        let time = backend.now
        if mayHoldTime { cachedNow = time }
        return time
    }

    /// A turn begins, or its wait: the time that was known is past.
    @inline(__always)
    func updateCachedTime() {
        cachedNow = MonotonicInstant(nanoseconds: 0)
        mayHoldTime = true
    }

    /// A turn has ended.
    @inline(__always)
    func invalidateCachedTime() {
        cachedNow = MonotonicInstant(nanoseconds: 0)
        mayHoldTime = false
    }

    /// Figures about this reactor: what is open, and what has happened.
    public var statistics: ReactorStatistics {
        checkThread()
        var result = counters
        result.openConnections = connections.count
        result.listeningPorts = ports.count
        result.datagramPorts = datagramPorts.count
        result.lingeringStreams = lingering.count
        result.watches = watches.count
        result.delayedCalls = timers.count
        result.suspendedTasks = waits.count
        result.tasks = tasks.count
        result.openHandles = life.isStarted ? backend.openHandleCount : 0
        result.queuedBytes = queues.byteCount + backend.heldByteCount
        return result
    }

    /// Asserts what must hold between turns, of the reactor and of all that is open.
    ///
    /// Called by the simulator after each step. O(n) in what is open.
    public func checkInvariants() {
        checkThread()
        require(eventDepth == 0, "Reactor: checkInvariants inside an event")
        require(flushList.isEmpty, "Reactor: something was left unflushed")
        require(connections.count <= counters.liveTransports, "Reactor: a transport was lost")
        require(
            lostConnections.isEmpty && stoppedDatagramPorts.isEmpty, "Reactor: an end was not told")
        coalescingPool.checkInvariants()
        timers.checkInvariants()
        waits.checkInvariants()
        executor.queue.checkInvariants()
        let open = connections.elements
        for connection in open { connection.checkInvariants() }
        require(
            counters.fullConnections == open.count { $0.isFull },
            "Reactor: \(counters.fullConnections) full connections of \(open.count)")
        require(
            queues.byteCount >= open.reduce(0) { $0 + $1.pendingByteCount },
            "Reactor: \(queues.byteCount) bytes are counted, and more are queued")
        lingering.checkInvariants()
        require(
            servedConnections == open.count { $0.isServed },
            "Reactor: \(servedConnections) connections are served of \(open.count)")
        for attempt in attempts.elements { attempt.checkInvariants() }
        for agreement in agreements.elements { agreement.checkInvariants() }
        for port in ports.elements { port.checkInvariants() }
        for port in datagramPorts.elements { port.checkInvariants() }
    }

    /// The resolver of host names for this reactor.
    ///
    /// - Throws: ``IOError`` if the services cannot be made.
    public var resolver: any NameResolver {
        get throws(IOError) { try startedServices(for: .resolve).resolver }
    }

    /// The source of signals for this reactor.
    ///
    /// - Throws: ``IOError`` if the services cannot be made.
    public var signals: any SignalSource {
        get throws(IOError) { try startedServices(for: .signal).signals }
    }

    func startedServices(
        for operation: IOError.Operation
    ) throws(IOError) -> any ReactorServices {
        checkThread()
        if let services { return services }
        guard let makeServices else {
            throw IOError(operation, function: "", code: .notSupported)
        }
        try startIfNeeded()
        let made = try makeServices(self)
        services = made
        return made
    }

    /// Runs another loop as a guest: see ``LoopGuest``.
    ///
    /// - Parameter guest: Held until it is removed or the run ends.
    public func addGuest(_ guest: any LoopGuest) {
        checkThread()
        guests.append(guest)
    }

    /// The guest has ended.
    ///
    /// Harmless for one that was not added.
    ///
    /// - Parameter guest: One that was added.
    public func removeGuest(_ guest: any LoopGuest) {
        checkThread()
        guests.removeAll { $0 === guest }
    }

    // MARK: The thread

    /// Traps unless this thread may use the reactor: it runs here, or nowhere.
    ///
    /// - Parameter function: Named by the trap.
    @inline(__always)
    public func checkThread(_ function: StaticString = #function) {
        if owner != torsion_thread_id() { checkUnbound(function) }
    }

    @inline(never)
    private func checkUnbound(_ function: StaticString) {
        guard owner != 0 else { return }
        mistake(
            "Reactor: \(function) was called from a thread that does not run this reactor;"
                + " use reactor.remote.callFromThread")
    }

    /// Whether the calling thread runs this reactor now.
    ///
    /// Callable from any thread that has it.
    @inline(__always)
    var isBoundToThisThread: Bool { owner == torsion_thread_id() }

    func bindToThisThread() {
        require(owner == 0, "Reactor: run was called while the reactor runs on another thread")
        owner = torsion_thread_id()
        noteDriver()
        executor.queue.bind()
    }

    func unbind() {
        owner = 0
        inbox.driver.store(0, ordering: .relaxed)
        executor.queue.unbind()
    }

    /// Lets handles know which thread turns the reactor: see ``Remote/leadsToThisThread``.
    func noteDriver() { inbox.driver.store(torsion_thread_id(), ordering: .relaxed) }

    /// The thread that calls.
    static var thisThread: UInt { torsion_thread_id() }
}
