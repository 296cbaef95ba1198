// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

/// A port that is open: accepts clients and makes a protocol for each.
///
/// Accepting survives descriptors running out, for good if need be: waiting clients are refused
/// with a descriptor kept in reserve, the port backs off for 10 ms, doubling to 1 s, and it
/// recovers by itself. After any other error that does not end it, it backs off as well, and
/// clients wait in the kernel's queue. One line reports it per episode. It backs off, too, while
/// the queues of its reactor hold more than ``Reactor/queueLimitBytes``.
///
/// - SeeAlso: Twisted `IListeningPort`.
public final class ListeningPort {
    /// The reactor that this port belongs to.
    public let reactor: Reactor

    /// Where it listens, with the port that the kernel chose; also after it has closed.
    public let localAddress: SocketAddress

    let service: PortService
    private var listener: (any BackendListener)?
    private var slot: Int32 = -1
    private var isAccepting = false
    /// By the program.
    private var isPaused = false
    /// By the engine: tasks that take connections are behind, or the port is about to close.
    private var isHeld = false
    private var backoff = Duration.milliseconds(10)
    private var resumption: DelayedCall?
    private var lastFailure: MonotonicInstant?
    /// See PortDrain.swift.
    var drain: PortDrain?

    private static let shedLimit = 64
    private static let longestBackoff = Duration.seconds(1)

    /// Opens a socket of its own, outside of any group.
    convenience init(
        reactor: Reactor, address: SocketAddress, _ service: PortService
    ) throws(IOError) {
        let trampoline = Trampoline()
        let listener = try reactor.backend.listen(
            on: address, options: service.options.value, receiver: trampoline)
        self.init(reactor, listener, trampoline, service)
    }

    private init(
        _ reactor: Reactor, _ listener: any BackendListener, _ trampoline: Trampoline,
        _ service: PortService
    ) {
        self.reactor = reactor
        self.service = service
        self.listener = listener
        localAddress = listener.localAddress
        unsafe trampoline.port = self
        slot = reactor.ports.insert(self)
    }

    /// Accepts clients from now on, and tells the factory.
    ///
    /// Not under a group's lock: the factory may open another port.
    fileprivate func begin() -> ListeningPort {
        updateAccepting()
        service.factory?.started(on: self)
        return self
    }

    static func adopting(
        _ descriptor: Int32, on reactor: Reactor, _ service: PortService
    ) throws(IOError) -> ListeningPort {
        let trampoline = Trampoline()
        let adopted = try reactor.backend.adopt(
            descriptor, options: service.options.value, receiver: trampoline)
        switch adopted {
        case .listener(let listener):
            return ListeningPort(reactor, listener, trampoline, service)
        case .stream(let stream):
            return ListeningPort(reactor: reactor, serving: stream, service)
        }
    }

    /// A port that never listened: it serves one stream that is there already.
    fileprivate init(
        reactor: Reactor, serving stream: any BackendStream, _ service: PortService
    ) {
        self.reactor = reactor
        self.service = service
        localAddress = stream.localAddress
        // Closed with the call, if the run ends before it is made.
        let held = ByteStream(stream, options: service.options.value)
        // Not inline: `listen` may be called inside a callback.
        reactor.callLater(.zero) { [self] in
            accept(held.take().stream)
            service.portEnded()
        }
    }

    /// Whether it still listens.
    public var isListening: Bool { listener != nil }

    /// Closes the port; connections that it accepted stay.
    ///
    /// - Returns: Fires when the address can be bound again; at once if the port is closed already.
    @discardableResult
    public func stopListening() -> Deferred<Void> {
        reactor.checkThread()
        close(servingAtMost: 0)
        return .succeeded((), on: reactor)
    }

    /// Closes the port, and serves whoever waits for it: to be closed would reset them.
    ///
    /// Between the call that finds nobody waiting and the one that closes the socket nothing is done, since
    /// whoever connects meanwhile is reset by the kernel.
    ///
    /// - Parameter limit: How many are served at most.
    func close(servingAtMost limit: Int) {
        guard let listener else { return }
        self.listener = nil
        resumption?.cancel()
        if let group = reactor.group, let descriptor = listener.sharedDescriptor {
            group.willClose(descriptor)
        }
        var rest = reactor.queues.isOver ? 0 : min(limit, service.options.value.backlog)
        var waiting: [any BackendStream] = []
        while rest > 0 {
            let some = listener.takeWaiting(limit: rest)
            if some.isEmpty { break }
            waiting += some
            rest -= some.count
        }
        listener.close()
        reactor.ports.remove(slot)
        for stream in waiting { accept(stream) }
        service.factory?.stopped(on: self)
        service.portEnded()
    }

    /// Lets an observer watch the clients that come from now on.
    ///
    /// - Parameter observer: Asked behind those that the endpoint has.
    public func observe(by observer: any PortObserver) {
        reactor.checkThread()
        service.observe(by: observer)
    }

    /// Whether clients are accepted as they come.
    var isAcceptingNow: Bool { isAccepting && listener != nil }

    /// What other reactors of a group may accept from, too.
    var sharedDescriptor: Int32? { listener?.sharedDescriptor }

    /// Leaves clients in the kernel's queue until ``resumeAccepting()``: they are connected, and wait.
    ///
    /// If the queue (``StreamOptions/backlog``) is full, the kernel ignores further clients, and
    /// they try again. A stop of the reactor, and ``drain(within:)``, accept those who wait all the
    /// same. Harmless when repeated, and when the port is closed. Called on the reactor.
    public func pauseAccepting() {
        reactor.checkThread()
        isPaused = true
        updateAccepting()
    }

    /// Accepts again, beginning with those who wait.
    ///
    /// Called on the reactor.
    public func resumeAccepting() {
        reactor.checkThread()
        isPaused = false
        updateAccepting()
    }

    /// Leaves clients in the kernel's queue, whatever the program wishes.
    func holdClients() {
        isHeld = true
        updateAccepting()
    }

    /// Leaves clients in the kernel's queue until the port closes in a later turn, and those who come
    /// behind them to other sockets of the same port.
    func prepareToClose() {
        holdClients()
        if !isSharedWithProcesses { listener?.leaveLaterClients() }
    }

    /// Whether another process may listen with the same socket.
    package var isSharedWithProcesses = false

    /// The program decides again.
    func releaseClients() {
        isHeld = false
        updateAccepting()
    }

    /// Whether closing it removes the file of a UNIX socket: not, if another process goes on listening
    /// with the same socket.
    package var ownsFile: Bool {
        get { listener?.ownsFile ?? false }
        set { listener?.ownsFile = newValue }
    }

    /// The descriptor of its socket, for those who pass it on; nil when it is closed, or has none.
    package var lentDescriptor: Int32? { listener?.sharedDescriptor }

    /// Accepts unless the program has paused it, it backs off, the reactor's queues hold too much, or
    /// too many clients are still agreeing on terms; the latter three end by themselves.
    func updateAccepting() {
        let wanted =
            !isPaused && !isHeld && !(resumption?.isActive ?? false) && !reactor.queues.isOver
            && service.hasRoomForHandshake
        guard wanted != isAccepting, let listener else { return }
        isAccepting = wanted
        if wanted { listener.startAccepting() } else { listener.stopAccepting() }
    }

    /// Asserts what must hold between events of one that is open.
    func checkInvariants() {
        require(listener != nil, "ListeningPort: kept after its end")
        require(
            .milliseconds(10)...Self.longestBackoff ~= backoff,
            "ListeningPort: backs off for \(backoff)")
    }

    /// Stands between the backend and the port, so that a listener that fails to open leaves no
    /// half-made port behind.
    private final class Trampoline: ListenerReceiver {
        unowned(unsafe) var port: ListeningPort!

        // Whoever is called may close the port, which nothing else may hold then.
        func listenerDidAccept(_ stream: any BackendStream) {
            let port = unsafe port
            withExtendedLifetime(port) { port?.accept(stream) }
        }

        func listenerDidFail(_ code: ErrorCode) {
            let port = unsafe port
            withExtendedLifetime(port) { port?.acceptFailed(code) }
        }
    }

    private func accept(_ stream: any BackendStream) {
        backoff = .milliseconds(10)
        reactor.checkQueues()
        reactor.nameEvent(.accepting)
        reactor.performEvent {
            if service.isPlain {
                service.serve(stream, on: reactor)
            } else {
                service.agree(over: stream, on: reactor) { [self] in
                    updateAccepting()
                    drain?.checkEnd()
                }
                if !service.hasRoomForHandshake { updateAccepting() }
            }
        }
    }

    private func acceptFailed(_ code: ErrorCode) {
        guard let listener else { return }
        // What lingers has a descriptor each, and its protocol is done.
        if code.isShortage, reactor.lingering.makeRoom() > 0 { return listener.startAccepting() }
        if code.isShortage {
            reactor.counters.connectionsShed += UInt64(listener.shed(limit: Self.shedLimit))
        }
        let pause = backoff
        backoff = min(backoff * 2, Self.longestBackoff)
        resumption = reactor.callLater(pause) { [self] in
            resumption = nil
            updateAccepting()
        }
        updateAccepting()
        // Last: whoever is told may close the port, whose number is then another's.
        reportFailure(code)
    }

    private func reportFailure(_ code: ErrorCode) {
        let failure = IOError(
            .accept, function: "accept4", code: code, subject: "\(localAddress)")
        reactor.connectionObserver.backedOff?(failure, self)
        let now = reactor.now
        let isSameEpisode = lastFailure.map { $0.advanced(by: .seconds(10)) > now } ?? false
        lastFailure = now
        guard !isSameEpisode else { return }
        let consequence =
            code.isShortage ? "clients are refused until there is room" : "the port backs off"
        reactor.report(failure, in: "accepting; \(consequence)")
    }
}

extension ErrorCode {
    /// Whether refusing a client who waits is better than leaving him in the kernel's queue.
    fileprivate var isShortage: Bool {
        switch self {
        case .tooManyOpenFiles, .tooManyOpenFilesInSystem, .outOfMemory, .noBufferSpace: true
        default: false
        }
    }
}

extension Reactor {
    /// Listens for streams on an address.
    ///
    /// ``ServerEndpoint`` is the usual way to say where.
    ///
    /// - Parameters:
    ///   - address: IPv4, IPv6 or UNIX; port 0 lets the kernel choose.
    ///   - options: How the port and its connections are set up.
    ///   - factory: Makes the protocol of each connection.
    /// - Returns: The open port.
    /// - Throws: ``IOError`` that names the address.
    @discardableResult
    public func listen(
        on address: SocketAddress, options: StreamOptions = StreamOptions(),
        factory: any StreamProtocolFactory
    ) throws(IOError) -> ListeningPort {
        let layers = StreamLayers()
        return try listen(
            on: address, PortService(factory: factory, layers: layers, options: options, on: self))
    }

    @discardableResult
    func listen(
        on address: SocketAddress, _ service: PortService
    ) throws(IOError) -> ListeningPort {
        checkThread()
        try startIfNeeded()
        guard let group else {
            return try ListeningPort(reactor: self, address: address, service).begin()
        }
        service.options.value.reusePort = true
        return try group.listen(on: address, from: number) { address throws(IOError) in
            try ListeningPort(reactor: self, address: address, service)
        } adopting: { descriptor throws(IOError) in
            try ListeningPort.adopting(descriptor, on: self, service)
        }.begin()
    }

    /// Listens with one socket for all reactors of the group.
    ///
    /// - Parameters:
    ///   - name: Of the socket, in the group.
    ///   - group: Whose reactors accept from it.
    ///   - service: What serves the clients.
    ///   - open: Opens it, for the first of them.
    /// - Returns: The port, which accepts from now on.
    /// - Throws: ``IOError`` that names the address.
    func listen(
        sharing name: String, in group: GroupPorts, _ service: PortService,
        _ open: () throws(IOError) -> ListeningPort
    ) throws(IOError) -> ListeningPort {
        try group.listen(named: name, open) { descriptor throws(IOError) in
            try ListeningPort.adopting(descriptor, on: self, service)
        }.begin()
    }

    /// Serves one connection over two descriptors that are open already, for example 0 and 1.
    ///
    /// - Throws: ``IOError`` of operation `open`.
    @discardableResult
    func serve(
        input: Int32, output: Int32, _ service: PortService
    ) throws(IOError) -> ListeningPort {
        checkThread()
        try startIfNeeded()
        let stream = try backend.open(input: input, output: output)
        return ListeningPort(reactor: self, serving: stream, service).begin()
    }

    /// Serves with a duplicate of a socket that is open already: the clients of one that listens, or
    /// the one peer of one that is connected.
    ///
    /// - Throws: ``IOError`` of operation `open` that names the descriptor.
    @discardableResult
    func listen(
        adopting descriptor: Int32, _ service: PortService
    ) throws(IOError) -> ListeningPort {
        checkThread()
        try startIfNeeded()
        return try ListeningPort.adopting(descriptor, on: self, service).begin()
    }

    /// Listens for streams on an address, with a closure for a factory; nil refuses a peer.
    ///
    /// - Parameters:
    ///   - address: IPv4, IPv6 or UNIX; port 0 lets the kernel choose.
    ///   - options: How the port and its connections are set up.
    ///   - makeProtocol: Called for each client with its address; nil refuses it.
    /// - Returns: The open port.
    /// - Throws: ``IOError`` that names the address.
    @discardableResult
    public func listen(
        on address: SocketAddress, options: StreamOptions = StreamOptions(),
        _ makeProtocol: @escaping (SocketAddress) throws -> (any StreamProtocol)?
    ) throws(IOError) -> ListeningPort {
        try listen(on: address, options: options, factory: ClosureFactory(makeProtocol))
    }
}
