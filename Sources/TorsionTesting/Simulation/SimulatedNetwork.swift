// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

@_spi(Backend) public import TorsionCore

/// The network between simulated hosts: one clock, one queue of segments, one source of faults.
///
/// A program seldom meets it directly; ``SimulatedWorld`` makes one.
///
///     world.network.conditions.bandwidth = 1_000_000
///     world.network.partition("client", "server", for: .seconds(30))
public final class SimulatedNetwork {
    /// The network's properties without faults.
    public var conditions = NetworkConditions()

    /// The events so far.
    public internal(set) var trace = Trace()

    /// Virtual time.
    public private(set) var now: MonotonicInstant

    /// Over each connection of the hosts that are made from now on.
    package var endFilters = EndFilters()

    /// Whether bytes are changed on their way, which no program gets without an error.
    package var isDamaged = false

    let draws: FaultDraws
    private(set) var nodes: [NetworkNode] = []
    private var events = EventQueue()
    /// Connections of which a side is still there.
    private var sockets: [SimulatedSocket] = []
    private var connectionCount = 0
    private var portCount = 0
    /// Pairs of hosts that do not reach each other, and until when.
    private var partitions: [(Int, Int, until: UInt64)] = []

    /// The time at which every simulation begins: one second, so that a time before it can be told.
    static let start = MonotonicInstant(nanoseconds: 1_000_000_000)

    init(draws: FaultDraws) {
        self.draws = draws
        now = Self.start
    }

    /// Faults that have happened, in order.
    public var faults: [Fault] { draws.struck }

    /// Ends the faults: a correct program gets its work done then.
    public func endFaults() {
        draws.isOver = true
        note("no more faults")
    }

    /// Makes the next chances of a kind faults by hand, on any host.
    ///
    ///     world.network.strike(.refuse)           // the next connect is refused
    ///     world.network.strike(.lose, count: 3)   // three datagrams are lost
    ///
    /// A fault of a certain connection is named by a script: see ``SimulatedWorld/init(seed:script:)``.
    ///
    /// - Parameters:
    ///   - kind: Which fault.
    ///   - count: How many chances, 0 or more.
    public func strike(_ kind: Fault.Kind, count: Int = 1) {
        precondition(count >= 0, "SimulatedNetwork: strike needs a count that is not negative")
        draws.ask(for: kind, count: count)
    }

    /// Writes a line into the trace, for example what a scenario is doing.
    ///
    /// - Parameters:
    ///   - text: One line.
    ///   - host: Whose column; `nil` for the network's.
    public func note(_ text: String, host: String? = nil) {
        trace.add(time: now.nanoseconds, host: host.flatMap(node)?.index ?? -1, .noted(text))
    }

    // MARK: Hosts

    func addNode(_ name: String) -> NetworkNode {
        precondition(node(name) == nil, "SimulatedNetwork: a second host named \(name)")
        let node = NetworkNode(index: nodes.count, name: name)
        nodes.append(node)
        return node
    }

    func node(_ name: String) -> NetworkNode? { nodes.first { $0.name == name } }

    /// Whom an address leads to from a host; nil if nobody has it.
    func node(at address: SocketAddress, from node: NetworkNode) -> NetworkNode? {
        if node.isLocal(address) { return node }
        guard case .ipv4(let ip, _) = address else { return nil }
        return nodes.first { $0.address == ip }
    }

    // MARK: Partitions

    /// Keeps two hosts from reaching each other.
    ///
    /// Bytes that are sent meanwhile arrive afterwards, as TCP sends them again.
    ///
    /// - Parameters:
    ///   - one: A host's name; an unknown one traps.
    ///   - other: A host's name; an unknown one traps.
    ///   - duration: Of virtual time, from now.
    public func partition(_ one: String, _ other: String, for duration: Duration) {
        guard let first = node(one), let second = node(other) else {
            preconditionFailure("SimulatedNetwork: no hosts named \(one) and \(other)")
        }
        partition(first, second, until: now.advanced(by: duration).nanoseconds)
    }

    func partition(_ one: NetworkNode, _ other: NetworkNode, until: UInt64) {
        guard one !== other else { return }
        partitions.append((one.index, other.index, until))
        let length = Duration(nanosecondCount: until - now.nanoseconds)
        let text = "partition from \(other.name) for \(length)"
        trace.add(time: now.nanoseconds, host: one.index, .noted(text))
    }

    /// When the two can reach each other; nil for now.
    func partitionEnd(_ one: NetworkNode, _ other: NetworkNode) -> UInt64? {
        guard !partitions.isEmpty else { return nil }
        let time = now.nanoseconds
        partitions.removeAll { $0.until <= time }
        let pair = Set([one.index, other.index])
        return partitions.filter { Set([$0.0, $0.1]) == pair }.map(\.until).max()
    }

    // MARK: Breaking connections

    /// Resets a connection by hand: both ends see it at once.
    ///
    /// Connections are numbered from 1 in the order in which they were begun.
    ///
    /// - Parameter number: From 1; a connection that is gone is left alone.
    public func reset(connection number: Int) {
        sockets.first { $0.number == number && $0.isClient }?.breakOff()
    }

    /// Ends one direction of a connection by hand: the receiver sees the end, the sender a broken
    /// pipe; what had not left is lost.
    ///
    /// - Parameters:
    ///   - number: From 1; a connection that is gone is left alone.
    ///   - sender: `.client` or `.server`.
    public func end(connection number: Int, from sender: Fault.Place) {
        sockets.first { $0.number == number && $0.chances.place == sender }?.truncate()
    }

    // MARK: Time

    /// Calls `body` when the clock stands there, between turns of the reactors.
    ///
    /// - Parameters:
    ///   - time: Of the network's clock; a past one means at once.
    ///   - body: Called once, outside of every reactor.
    public func at(_ time: MonotonicInstant, _ body: @escaping () -> Void) {
        schedule(.call(body), at: time.nanoseconds)
    }

    func schedule(_ event: EventQueue.Event, at time: UInt64) {
        events.schedule(event, at: time)
    }

    /// Nothing that was to happen will.
    func forgetEvents() { events = EventQueue() }

    var nextEventTime: UInt64? { events.nextTime }

    /// Moves the clock, and lets happen what is due then.
    func advance(to time: UInt64) {
        precondition(time >= now.nanoseconds, "SimulatedNetwork: time does not go back")
        now = MonotonicInstant(nanoseconds: time)
        while let event = events.popDue(at: time) {
            switch event {
            case .arrival(let socket): socket.firstSegmentArrives()
            case .room(let socket): socket.pump()
            case .refusal(let socket): socket.fail(.connectionRefused)
            case .call(let body): body()
            }
        }
    }

    // MARK: Connections

    func nextConnection() -> Int {
        connectionCount += 1
        return connectionCount
    }

    func nextPort() -> Int {
        portCount += 1
        return portCount
    }

    /// Keeps a socket until it is done, which may be long after its program closed it.
    func keep(_ socket: SimulatedSocket) { sockets.append(socket) }

    func release(_ socket: SimulatedSocket) {
        if let index = sockets.lastIndex(where: { $0 === socket }) { sockets.remove(at: index) }
    }

    /// Asserts what must hold between steps.
    public func checkInvariants() {
        for socket in sockets { socket.checkInvariants() }
    }
}
