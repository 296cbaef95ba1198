// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

@_spi(Backend) public import TorsionCore

/// A child process that runs, or has exited and is not over yet.
///
/// It belongs to its reactor; from another thread every call traps. The reactor holds it until
/// ``ProcessProtocol/processEnded(_:_:)`` has returned.
///
/// - SeeAlso: Twisted `IProcessTransport`.
public final class ChildProcess {
    /// The reactor that the child belongs to.
    public let reactor: Reactor

    /// The command that was started.
    public let command: Command

    /// The child's number, also that of its group if it leads one.
    ///
    /// It may be another process's when the child is over.
    public let processID: Int32

    /// How it has exited; nil while it runs.
    public private(set) var status: ProcessStatus?

    /// What the program threw when it was told of the child, which was killed for it.
    private(set) var startError: (any Error)?

    /// Nil when it is over.
    private var carrier: (any ChildCarrier)?
    private var proto: (any ProcessProtocol)?
    private var transports: [Int32: any StreamTransport] = [:]
    /// Streams whose protocols were not called with the loss.
    private var openStreamCount = 0
    private var number: UInt64 = 0
    private weak var children: Children?
    private var drainCall: DelayedCall?
    private var killCall: DelayedCall?
    private var waiting: [Deferred<ProcessStatus>] = []

    init(
        _ command: Command, _ carrier: any ChildCarrier, _ proto: any ProcessProtocol,
        among children: Children, on reactor: Reactor
    ) throws(IOError) {
        self.command = command
        self.carrier = carrier
        self.proto = proto
        self.children = children
        self.reactor = reactor
        processID = carrier.processID
        try carrier.awaitExit { [unowned self] status in exited(status) }
        number = children.add(self)
    }

    /// Whether the child is over: exited, all output delivered, all streams closed.
    public var isOver: Bool { carrier == nil }

    // MARK: Streams

    /// Our end of one of the child's descriptors: what you write to, pause and close.
    ///
    /// - Parameter descriptor: The number in the child.
    /// - Returns: Nil if it is not a stream, or is closed.
    public func transport(of descriptor: Int32) -> (any StreamTransport)? {
        reactor.checkThread()
        if case .same(let other)? = command.descriptor(descriptor)?.kind {
            return transports[other]
        }
        return transports[descriptor]
    }

    /// Our end of the child's standard input.
    public var standardInput: (any StreamTransport)? { transport(of: 0) }

    /// Our end of the child's standard output.
    public var standardOutput: (any StreamTransport)? { transport(of: 1) }

    /// Our end of the child's standard error.
    public var standardError: (any StreamTransport)? { transport(of: 2) }

    /// Changes the size of the child's terminal, which gets SIGWINCH.
    ///
    /// - Parameter size: In characters.
    /// - Throws: `IOError` of operation `configure`, also without a terminal.
    public func resizeTerminal(to size: TerminalSize) throws(IOError) {
        reactor.checkThread()
        guard let carrier else { throw goneError(.configure, "its terminal") }
        try carrier.resize(size)
    }

    // MARK: Ending it

    /// Sends a signal to the child alone.
    ///
    /// - Parameter signal: Which one.
    /// - Throws: `IOError` of operation `signal`, with `.noSuchProcess` if it has exited.
    public func signal(_ signal: Signal) throws(IOError) {
        reactor.checkThread()
        guard let carrier, status == nil else { throw goneError(.signal, "\(signal)") }
        try carrier.send(signal, toGroup: false)
    }

    /// Sends a signal to the child's process group; to the child alone if it does not lead one.
    ///
    /// As long as the child is not over, it cannot reach another process: its number is kept.
    ///
    /// - Parameter signal: Which one.
    /// - Throws: `IOError` of operation `signal`, with `.noSuchProcess` if the child is over.
    public func signalGroup(_ signal: Signal) throws(IOError) {
        reactor.checkThread()
        guard let carrier else { throw goneError(.signal, "\(signal)") }
        try carrier.send(signal, toGroup: true)
    }

    /// Asks the child to end: ends its standard input, sends SIGTERM to its group, and kills the group
    /// when the time is over.
    ///
    /// Harmless when repeated.
    ///
    /// - Parameter time: How long it may take; by default ``Command/endTimeout``.
    public func end(within time: Duration? = nil) {
        reactor.checkThread()
        guard carrier != nil else { return }
        killAfter(time ?? command.endTimeout)
        requestEnd()
    }

    /// Kills the child and its group at once.
    ///
    /// Harmless when it is over.
    public func kill() {
        reactor.checkThread()
        try? carrier?.send(.kill, toGroup: true)
    }

    /// Waits until the child is over.
    ///
    /// - Returns: A Deferred for how it ended, another for each call.
    public func whenOver() -> Deferred<ProcessStatus> {
        reactor.checkThread()
        if carrier == nil { return .succeeded(status ?? .unknown, on: reactor) }
        let deferred = Deferred<ProcessStatus>(on: reactor)
        waiting.append(deferred)
        return deferred
    }

    private func goneError(_ operation: IOError.Operation, _ what: String) -> IOError {
        IOError(
            operation, function: "", code: .noSuchProcess,
            subject: "\(command.program) (\(processID)) with \(what)")
    }

    /// What a protocol does by default when it is asked to end its child.
    func requestEnd() {
        switch command.descriptor(0)?.kind {
        // Its end would be a hang-up, and take the output with it.
        case .terminal?: break
        case .socket?: transports[0]?.loseWriteConnection()
        case .pipe?, .null?, .closed?, .inherited?, .file?, .same?, nil:
            transports[0]?.loseConnection()
        }
        try? carrier?.send(.terminate, toGroup: true)
    }

    private func killAfter(_ time: Duration) {
        let due = reactor.now.advanced(by: time)
        if let deadline = killCall?.deadline, deadline <= due { return }
        killCall?.cancel()
        killCall = reactor.callLater(time) { [unowned self] in kill() }
    }

    /// The reactor stops.
    func requestShutdown(within time: Duration) {
        guard time > .zero else { return kill() }
        killAfter(min(time, command.endTimeout))
        reactor.performEvent { proto?.shutdownRequested(self) }
    }

    /// The time of the stop is over, and the run about to end.
    func endNow() {
        guard let carrier else { return }
        let status = carrier.killAndWait()
        for transport in transports.values { transport.abortConnection() }
        if self.status == nil { exited(status) }
    }

    /// The run is over: nothing is called any more.
    func abandon() {
        carrier = nil
        proto = nil
        transports = [:]
        waiting = []
    }

    // MARK: Life

    /// Makes the protocols of the streams, and announces the child.
    func begin(_ opened: ChildStreams) {
        openStreamCount += opened.streams.count
        reactor.performEvent {
            var rest = opened.streams[...]
            do {
                while let (descriptor, stream) = rest.first {
                    let proto = try makeProtocol(for: descriptor)
                    rest.removeFirst()
                    attach(stream, proto, as: descriptor)
                }
                try proto?.processStarted(self)
            } catch {
                for (_, stream) in rest {
                    stream.close()
                    openStreamCount -= 1
                }
                startError = error
                kill()
                reactor.report(error, in: "starting \(command.program)")
            }
        }
    }

    private func makeProtocol(for descriptor: Int32) throws -> any StreamProtocol {
        if let make = command.descriptor(descriptor)?.makeProtocol { return try make() }
        if let made = try proto?.makeProtocol(for: descriptor, of: self) { return made }
        return ChildOutput(of: self, descriptor)
    }

    private func attach(
        _ stream: any BackendStream, _ proto: any StreamProtocol, as descriptor: Int32
    ) {
        transports[descriptor] = reactor.attach(stream, proto, options: command.streamOptions) {
            [unowned self] _ in
            streamClosed(descriptor)
        }
    }

    /// A stream's protocol was called with the loss.
    func streamClosed(_ descriptor: Int32) {
        if case .terminal? = command.descriptor(descriptor)?.kind { carrier?.hangUp() }
        transports[descriptor] = nil
        openStreamCount -= 1
        finishIfOver()
    }

    /// A stream of an endpoint, which has no transport of ours.
    func holdStream() { openStreamCount += 1 }

    fileprivate func received(_ bytes: RawSpan, on descriptor: Int32) throws {
        try proto?.dataReceived(bytes, on: descriptor, of: self)
    }

    private func exited(_ status: ProcessStatus) {
        guard self.status == nil else { return }
        self.status = status
        if openStreamCount > 0 { awaitDraining() }
        reactor.performEvent { proto?.processExited(status, self) }
        finishIfOver()
    }

    /// A stream that the program has paused meanwhile is not held open by somebody else.
    private func awaitDraining() {
        let delivering = transports.filter { $0.value.isDelivering }
        drainCall = reactor.callLater(command.drainTimeout) { [unowned self] in
            drainCall = nil
            var isHeld = false
            for (descriptor, transport) in transports {
                let hadTime = delivering[descriptor] != nil && transport.isDelivering
                if hadTime { transport.abortConnection() } else { isHeld = true }
            }
            if isHeld { awaitDraining() }
        }
    }

    private func finishIfOver() {
        guard let status, openStreamCount == 0, let carrier = carrier.take() else { return }
        drainCall?.cancel()
        killCall?.cancel()
        carrier.reap()
        let (proto, waiting) = (self.proto.take(), self.waiting)
        self.waiting = []
        withExtendedLifetime(self) {
            children?.remove(number)
            reactor.performEvent {
                proto?.processEnded(status, self)
                for deferred in waiting where deferred.isPending { deferred.succeed(status) }
            }
        }
    }
}

/// Passes on what arrives of a stream without a protocol of its own.
private final class ChildOutput: StreamProtocol {
    private unowned let child: ChildProcess
    private let descriptor: Int32

    init(of child: ChildProcess, _ descriptor: Int32) {
        self.child = child
        self.descriptor = descriptor
    }

    func dataReceived(_ bytes: RawSpan, from transport: any StreamTransport) throws {
        try child.received(bytes, on: descriptor)
    }
}

extension Command {
    /// Starts the program.
    ///
    /// Called on the reactor. When it returns the child runs, its protocol's
    /// ``ProcessProtocol/processStarted(_:)`` was called, and its streams can be used.
    ///
    /// - Parameters:
    ///   - reactor: Where the child and its streams belong.
    ///   - proto: Called with the child's events; its defaults are empty.
    /// - Returns: The child.
    /// - Throws: `IOError` of operation `spawn` that names the program and the cause: it is
    ///   missing, is not a program, may not be run, lacks an interpreter; the working directory or
    ///   a file cannot be used; descriptors, processes or memory have run out; the reactor is
    ///   stopping. Then a child was not started, and all descriptors are closed again.
    @discardableResult
    public func start(
        on reactor: Reactor, _ proto: any ProcessProtocol
    ) throws(IOError) -> ChildProcess {
        try start(on: reactor, proto, isJoined: false) { child, streams in child.begin(streams) }
    }

    /// Starts the program without a ``ProcessProtocol``; for children whose streams have protocols,
    /// or are not used.
    ///
    /// - Parameter reactor: Where the child and its streams belong.
    /// - Returns: The child.
    /// - Throws: `IOError` of operation `spawn` that names the program and the cause.
    @discardableResult
    public func start(on reactor: Reactor) throws(IOError) -> ChildProcess {
        try start(on: reactor, IgnoredProcess())
    }

    /// `begin`: Takes the streams over.
    func start(
        on reactor: Reactor, _ proto: any ProcessProtocol, isJoined: Bool,
        _ begin: (ChildProcess, ChildStreams) -> Void
    ) throws(IOError) -> ChildProcess {
        reactor.checkThread()
        guard !reactor.refusesToConnect else {
            throw IOError(.spawn, function: "", code: .canceled, subject: program)
        }
        try reactor.start()
        let children = reactor.companion(of: Children.self)
        let (carrier, streams): (any ChildCarrier, ChildStreams) =
            if let play = children.play {
                PlayedChild.start(self, isJoined: isJoined, on: reactor, play)
            } else {
                try Spawner.spawn(self, isJoined: isJoined, on: reactor)
            }
        let child: ChildProcess
        do throws(IOError) {
            child = try ChildProcess(self, carrier, proto, among: children, on: reactor)
        } catch {
            streams.close()
            throw error
        }
        begin(child, streams)
        return child
    }
}
