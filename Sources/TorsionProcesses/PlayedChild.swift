// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

@_spi(Backend) public import TorsionCore

/// A child that a closure plays: for simulations and tests, without a process.
///
///     reactor.playChildren { child in
///         child.connect(1) { Greeting() }
///         child.exit()
///     }
///     try Command("greet").standardOutput(.stream).start(on: reactor, Job())
///
/// The program above it is the real one: streams with backpressure and EOF, signals, the exit and
/// the end of a run. It belongs to the reactor that started it.
public final class PlayedChild {
    /// The command that was started.
    public let command: Command

    /// The reactor of child and parent.
    public let reactor: Reactor

    /// A number like that of a process, another for each child of the reactor.
    public let processID: Int32

    /// Called with each signal but SIGKILL, which cannot be caught.
    ///
    /// While it is nil a signal does what
    /// it does by default: most end the child.
    public var whenSignalled: ((Signal) -> Void)?

    private var ends: [Int32: MemoryStream]
    private var transports: [Int32: any StreamTransport] = [:]
    private var status: ProcessStatus?
    private var whenExited: ((ProcessStatus) -> Void)?

    private init(
        _ command: Command, _ processID: Int32, _ ends: [Int32: MemoryStream], on reactor: Reactor
    ) {
        self.command = command
        self.ends = ends
        self.reactor = reactor
        self.processID = processID
    }

    /// The size of the terminal, nil without one.
    public private(set) var terminalSize: TerminalSize?

    /// Puts a protocol above the child's end of one of its descriptors.
    ///
    /// Once for each descriptor; one that is not a stream, or is closed, is left out.
    ///
    /// - Parameters:
    ///   - descriptor: The number in the child; 0 for an endpoint's child, whose output it is too.
    ///   - makeProtocol: Makes what the child does with it.
    /// - Returns: The child's transport; nil if the descriptor is not a stream.
    @discardableResult
    public func connect(
        _ descriptor: Int32, _ makeProtocol: () -> any StreamProtocol
    ) -> (any StreamTransport)? {
        reactor.checkThread()
        guard let end = ends.removeValue(forKey: descriptor) else { return nil }
        let transport = reactor.attach(end, makeProtocol(), options: StreamOptions()) {
            [weak self] _ in
            self?.transports[descriptor] = nil
        }
        transports[descriptor] = transport
        return transport
    }

    /// The child's end of one of its descriptors.
    ///
    /// - Parameter descriptor: The number in the child.
    /// - Returns: Nil before it is connected, or when it is closed.
    public func transport(of descriptor: Int32) -> (any StreamTransport)? {
        transports[descriptor]
    }

    /// Ends the child.
    ///
    /// Its output still arrives. Harmless when repeated.
    ///
    /// - Parameter status: How it ends.
    public func exit(_ status: ProcessStatus = .exited(0)) {
        reactor.checkThread()
        guard self.status == nil else { return }
        self.status = status
        for end in ends.values { end.close() }
        ends = [:]
        let isKilled = status == .signalled(.kill)
        for (_, transport) in transports.sorted(by: { $0.key < $1.key }) {
            if isKilled { transport.abortConnection() } else { transport.loseConnection() }
        }
        reportExit()
    }

    private func reportExit() {
        guard let status, whenExited != nil else { return }
        reactor.callLater(.zero) { [self] in whenExited.take()?(status) }
    }
}

extension PlayedChild: ChildCarrier {
    func awaitExit(_ body: @escaping (ProcessStatus) -> Void) throws(IOError) {
        whenExited = body
        reportExit()
    }

    func send(_ signal: Signal, toGroup: Bool) throws(IOError) {
        guard status == nil else { return }
        if signal != .kill, let whenSignalled {
            reactor.callLater(.zero) { whenSignalled(signal) }
        } else if !signal.isIgnoredByDefault {
            exit(.signalled(signal))
        }
    }

    func resize(_ size: TerminalSize) throws(IOError) {
        guard terminalSize != nil else {
            throw IOError(
                .configure, function: "", code: .badDescriptor,
                subject: "the terminal of \(command.program) (\(processID))")
        }
        terminalSize = size
        // SIGWINCH
        try send(Signal(number: 28), toGroup: true)
    }

    func hangUp() { try? send(.hangUp, toGroup: true) }

    func killAndWait() -> ProcessStatus {
        whenExited = nil
        exit(.signalled(.kill))
        return status ?? .signalled(.kill)
    }

    func reap() {}

    /// Starts a child that is played, which begins in the next turn.
    static func start(
        _ command: Command, isJoined: Bool, on reactor: Reactor,
        _ play: @escaping (PlayedChild) -> Void
    ) -> (any ChildCarrier, ChildStreams) {
        var ours = ChildStreams()
        var theirs: [Int32: MemoryStream] = [:]
        let processID = reactor.companion(of: PlayedNumbers.self).next()
        func add(_ number: Int32, _ direction: MemoryStream.Direction) {
            let name = command.name(of: isJoined && number == 0 ? nil : number, in: processID)
            let (parent, child) = MemoryStream.pair(on: reactor, direction, name)
            ours.streams.append((number, parent))
            theirs[number] = child
        }
        if isJoined { add(0, .both) }
        for number in 0..<command.descriptorCount where !isJoined || number > 1 {
            switch command.descriptor(number)?.kind {
            case .pipe(let direction, _)?:
                add(number, direction == .childReads || number == 0 ? .toChild : .fromChild)
            case .socket?, .terminal?: add(number, .both)
            case .null?, .closed?, .inherited?, .file?, .same?, nil: break
            }
        }
        let child = PlayedChild(command, processID, theirs, on: reactor)
        if case .terminal(let size, _)? = command.descriptor(0)?.kind { child.terminalSize = size }
        reactor.callLater(.zero) { play(child) }
        return (child, ours)
    }
}

/// Numbers for children that are played.
private final class PlayedNumbers: ReactorCompanion {
    private var last: Int32 = 1_000

    init(on reactor: Reactor) {}

    func next() -> Int32 {
        last += 1
        return last
    }
}

extension Signal {
    /// SIGCHLD, SIGCONT, SIGURG, SIGWINCH: `signal(7)`.
    fileprivate var isIgnoredByDefault: Bool { [17, 18, 23, 28].contains(number) }
}

extension Reactor {
    /// Has a closure play every child that is started here until the run ends, instead of starting
    /// processes.
    ///
    /// - Parameter play: Called in the turn behind each start.
    public func playChildren(_ play: @escaping (PlayedChild) -> Void) {
        companion(of: Children.self).play = play
    }
}
