// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

internal import ArgumentParser
internal import Torsion
@_spi(Tool) internal import TorsionCore

/// Where datagrams are relayed to, `udp:HOST:PORT`: read as an endpoint is, though no stream leads there.
struct DatagramTarget: StreamClientEndpoint {
    private let host: String
    private let port: UInt16

    init(_ arguments: inout EndpointArguments) throws {
        let text = try arguments.argument("host")
        let isBracketed = text.hasPrefix("[") && text.hasSuffix("]")
        host = isBracketed ? String(text.dropFirst().dropLast()) : text
        port = UInt16(try arguments.argument("port", in: 1...65_535))
    }

    func openStream(on reactor: Reactor) -> Deferred<ByteStream> {
        .failed(
            IOError(.connect, function: "", code: .notSupported, subject: "udp:\(host):\(port)"),
            on: reactor)
    }

    /// The first address of the host.
    func address(on reactor: Reactor) throws(IOError) -> Deferred<SocketAddress> {
        if let address = SocketAddress(host: host, port: port) {
            return .succeeded(address, on: reactor)
        }
        return try reactor.resolver.resolve(host, port: port).addCallback { $0[0] }
    }
}

/// Sends each client's datagrams to one place from a port of its own, and the answers back to the
/// client.
///
/// A client is an address, which anybody can make up: so there are only so many sessions at once, and
/// one by which nothing passes ends.
final class DatagramRelay: DatagramProtocol {
    static let defaultLimit = 1_024
    static let defaultIdleLimit = Duration.seconds(60)

    private let target: DatagramTarget
    private let rules: JoiningRules
    private let form: TrafficForm?
    private let descriptorLimit: Int
    private unowned let reactor: Reactor
    private var port: (any DatagramTransport)?
    private var sessions: [SocketAddress: DatagramSession] = [:]

    /// - Parameters:
    ///   - target: Where datagrams go.
    ///   - rules: Shared by the reactors of the command.
    ///   - form: How what passes is shown; `nil` shows nothing.
    ///   - reactors: How many share the descriptors.
    ///   - reactor: Where the sessions belong.
    init(
        to target: DatagramTarget, _ rules: JoiningRules, _ form: TrafficForm?, reactors: Int,
        on reactor: Reactor
    ) {
        self.target = target
        self.rules = rules
        self.form = form
        self.reactor = reactor
        descriptorLimit = ConnectionLimits.descriptors(each: 1, reactors: reactors).total ?? .max
    }

    func transportStarted(_ transport: any DatagramTransport) { port = transport }

    func transportStopped(_ transport: any DatagramTransport) {
        port = nil
        for session in Array(sessions.values) { session.end("\(ConnectionLoss.aborted)") }
    }

    func datagramReceived(
        _ bytes: RawSpan, from address: SocketAddress, on transport: any DatagramTransport
    ) throws {
        if let session = sessions[address] { return session.send(bytes) }
        guard sessions.count < descriptorLimit else {
            return reactor.printLine(
                "\(descriptorLimit) clients are all that there are descriptors for")
        }
        guard rules.clients.begin() else {
            return reactor.printLine("\(TooManyClients(limit: rules.clients.limit ?? 0))")
        }
        let session = DatagramSession(
            of: address, at: transport.localAddress, form,
            idleLimit: rules.idleLimit ?? Self.defaultIdleLimit, of: self, on: reactor)
        sessions[address] = session
        session.send(bytes)
        do {
            try session.open(to: target.address(on: reactor))
        } catch {
            session.end("\(error)")
            throw error
        }
    }

    func datagramFailed(_ error: IOError, on transport: any DatagramTransport) {
        reactor.printLine("\(error)")
    }

    fileprivate func answer(_ bytes: RawSpan, to client: SocketAddress) {
        do { try port?.write(bytes, to: client) } catch { reactor.printLine("\(error)") }
    }

    fileprivate func remove(_ session: DatagramSession) {
        guard sessions.removeValue(forKey: session.client) != nil else { return }
        rules.clients.end()
    }
}

/// One client's port to the target.
private final class DatagramSession: DatagramProtocol {
    /// What waits while the target's name is looked up, in datagrams; further ones are lost.
    private static let waitingLimit = 16

    let client: SocketAddress
    private let idleLimit: Duration
    private var rows: TrafficRows?
    private unowned let relay: DatagramRelay
    private unowned let reactor: Reactor
    private var port: (any DatagramTransport)?
    private var waiting: [Bytes] = []
    private var lookup: AnyDeferred?
    private var hasEnded = false
    private var latest: MonotonicInstant
    private var timer: DelayedCall?

    init(
        of client: SocketAddress, at place: SocketAddress, _ form: TrafficForm?,
        idleLimit: Duration, of relay: DatagramRelay, on reactor: Reactor
    ) {
        self.client = client
        self.idleLimit = idleLimit
        self.relay = relay
        self.reactor = reactor
        latest = reactor.now
        rows = form.map { TrafficRows($0, ofDatagrams: true) }
        rows?.add("connected: \(client) at \(place)")
        wait(idleLimit)
    }

    /// Begins, when it is known to where.
    func open(to address: Deferred<SocketAddress>) {
        lookup = address
        address
            .addCallback { [self] address in
                lookup = nil
                try listen(connectedTo: address)
            }
            .whenFailed { [self] error in
                lookup = nil
                guard !hasEnded else { return }
                reactor.printLine("\(error)")
                end("\(error)")
            }
    }

    private func listen(connectedTo address: SocketAddress) throws {
        guard !hasEnded else { return }
        var own = SocketAddress.ipv4(.any, port: 0)
        if case .ipv6 = address { own = .ipv6(.any, port: 0) }
        var options = DatagramOptions()
        options.peerAddress = address
        try reactor.listenForDatagrams(on: own, options: options, self)
        let waiting = waiting
        self.waiting = []
        for bytes in waiting { write(bytes.span) }
    }

    func send(_ bytes: RawSpan) {
        latest = reactor.now
        rows?.add(bytes, ">")
        if port != nil { return write(bytes) }
        if waiting.count < Self.waitingLimit { waiting.append(Bytes(bytes)) }
    }

    private func write(_ bytes: RawSpan) {
        do { try port?.write(bytes) } catch { reactor.printLine("\(error)") }
    }

    func transportStarted(_ transport: any DatagramTransport) { port = transport }

    func datagramReceived(
        _ bytes: RawSpan, from address: SocketAddress, on transport: any DatagramTransport
    ) {
        // What had arrived before the port was connected may be from others.
        guard address == transport.peerAddress else { return }
        latest = reactor.now
        rows?.add(bytes, "<")
        relay.answer(bytes, to: client)
    }

    func connectionRefused(on transport: any DatagramTransport) {
        guard let peer = transport.peerAddress else { return }
        reactor.printLine(
            "\(IOError(.connect, function: "", code: .connectionRefused, subject: peer))")
    }

    func datagramFailed(_ error: IOError, on transport: any DatagramTransport) {
        reactor.printLine("\(error)")
    }

    private func wait(_ delay: Duration) {
        timer = reactor.callLater(delay) { [self] in
            timer = nil
            let rest = idleLimit - latest.duration(to: reactor.now)
            if rest > .zero { wait(rest) } else { end("\(IdleTooLong(limit: idleLimit))") }
        }
    }

    func end(_ reason: String) {
        guard !hasEnded else { return }
        hasEnded = true
        timer?.cancel()
        lookup?.cancel()
        port?.stopListening()
        port = nil
        rows?.addEnd(reason)
        relay.remove(self)
    }
}
