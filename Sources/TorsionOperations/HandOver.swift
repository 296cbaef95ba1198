// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

internal import Glibc
public import TorsionCore
internal import TorsionProtocols

// A new process takes the listening sockets of the one that it replaces, over a UNIX socket, with
// their queues of clients: so there is no moment at which nobody listens, which two sockets with
// SO_REUSEPORT have. The order is
//
//     new                                       old
//     take tcp:8080                  ->
//                                    <-         taken, with the descriptor (SCM_RIGHTS)
//     … starts, and is ready …
//     take the hand-over's own port  ->
//                                    <-         taken
//     ready                          ->
//                                    <-         stopping; it stops as at a signal
//
// Until "ready" the old process serves as before; if the new one ends without it, nothing has
// happened. The file of a UNIX socket belongs to the new process from then on.
//
// The reactors of a group accept from one socket for each endpoint, which the first of them takes or
// opens, so that the next process may have another number of them. The first one to listen leads: it
// serves the next process, and takes over when all of its group are ready.
//
// If two new ones ask at once, the first that is ready replaces the old one, which then answers
// nobody else; the second connects again, and replaces the first.

extension ServerEndpoint {
    /// The same place, where a process that starts takes the listening socket of the one that runs.
    ///
    ///     let web = try ServerEndpoint(parsing: "tcp:8080")
    ///     try web.handedOver(by: "/run/app.handover").listen(on: reactor) { Echo() }
    ///
    /// If a process listens at `path`, it is asked for its socket; when this reactor is ready, with
    /// the triggers for its start called, the other process stops as by
    /// `Reactor.stop(lameDuck:within:)`. Clients are not refused, and those that have been accepted
    /// get their answers. If the path is not listened at, the socket is opened as without this.
    /// Either way this process then listens at `path` for the next one.
    ///
    /// Only processes of the same user, or of root, are served. A new process that asks for an
    /// endpoint which the old one does not have opens it itself.
    ///
    /// - Parameters:
    ///   - path: Of a UNIX socket, in a folder in which only this program may write.
    ///   - name: Names the endpoint to the next process, if it differs from the text of the endpoint.
    ///     Without line breaks.
    ///   - gracePeriod: How long this process takes to end, when it has handed over.
    /// - Returns: An endpoint that can be used like this one. Listening waits, up to five seconds, for
    ///   the other process; it is for the start of a program. In a group of reactors each listens by
    ///   this, and all accept from one socket; the other process stops when all of them are ready, and
    ///   may have had another number of reactors.
    public func handedOver(
        by path: String, name: String? = nil, within gracePeriod: Duration = .seconds(30)
    ) -> HandedOverEndpoint {
        let key = name ?? description
        require(
            !key.isEmpty && !key.contains(where: \.isNewline),
            "ServerEndpoint: the name \"\(key)\" of a hand-over needs to be one line")
        return HandedOverEndpoint(
            endpoint: self, path: path, key: key, gracePeriod: gracePeriod)
    }

    /// The same with the words in another order.
    ///
    ///     try ServerEndpoint.handedOver(by: "/run/app.handover", else: web).listen(on: reactor) { … }
    ///
    /// - Parameters:
    ///   - path: Of a UNIX socket, in a folder in which only this program may write.
    ///   - endpoint: Opened if it is not handed over.
    /// - Returns: An endpoint that can be used like any other.
    public static func handedOver(
        by path: String, else endpoint: ServerEndpoint
    ) -> HandedOverEndpoint {
        endpoint.handedOver(by: path)
    }
}

/// A place where a process that starts takes the listening socket of the one that runs: see
/// `ServerEndpoint.handedOver(by:name:within:)`.
public struct HandedOverEndpoint: StreamServerEndpoint, Hashable {
    let endpoint: ServerEndpoint
    let path: String
    let key: String
    let gracePeriod: Duration

    /// Takes the socket of the process that runs, or opens it.
    ///
    /// - Parameters:
    ///   - reactor: Where the port and its connections belong; call this on its thread.
    ///   - factory: Makes the protocol of each connection, when its filters have agreed.
    ///   - layers: The filters and observers of each connection.
    /// - Returns: The open port.
    /// - Throws: `IOError` that names the place and the cause, or the path if the other process
    ///   does not answer.
    @discardableResult
    public func listen(
        on reactor: Reactor, factory: any StreamProtocolFactory, layers: StreamLayers
    ) throws(IOError) -> ListeningPort {
        let place = try reactor.companion(of: HandOverPlaces.self).place(at: self)
        let port = try place.listen(self, factory, layers)
        place.add(port, as: key)
        return port
    }
}

/// The hand-overs of a reactor, by path.
final class HandOverPlaces: ReactorCompanion {
    private unowned let reactor: Reactor
    fileprivate var places: [String: HandOverPlace] = [:]

    init(on reactor: Reactor) { self.reactor = reactor }

    func place(at endpoint: HandedOverEndpoint) throws(IOError) -> HandOverPlace {
        if let place = places[endpoint.path] { return place }
        let place = HandOverPlace(endpoint.path, within: endpoint.gracePeriod, on: reactor)
        try place.begin()
        places[endpoint.path] = place
        return place
    }
}

/// What the reactors of a group share of one path; a reactor alone is a group of one.
private final class HandOverGroup: Sendable {
    let former: FormerProcess
    private let members = Lock<[Remote<Reactor>]>([])

    init(at path: String) { former = FormerProcess(at: path) }

    /// - Returns: Whether it is the first.
    func add(_ reactor: Reactor) -> Bool {
        let remote = reactor.remote
        return members.withLock { members in
            members.append(remote)
            return members.count == 1
        }
    }

    /// Calls `body` with the place of each reactor: on this thread for the one that asks, and in a
    /// later turn for the others.
    func tellAll(
        of path: String, from reactor: Reactor, _ body: @escaping @Sendable (HandOverPlace) -> Void
    ) {
        for member in members.withLock({ $0 }) {
            let call: @Sendable (Reactor) -> Void = { reactor in
                reactor.companion(of: HandOverPlaces.self).places[path].map(body)
            }
            if member.leadsToThisThread { call(reactor) } else { member.callFromThread(call) }
        }
    }
}

/// One path by which ports are handed over: first from the former process, then to the next one.
final class HandOverPlace {
    /// The name of the hand-over's own port.
    static let ownKey = "the hand-over itself"

    let path: String
    private let gracePeriod: Duration
    private unowned let reactor: Reactor
    private let group: HandOverGroup
    /// Whether there is a next process, which alone may be asked from then on.
    private(set) var hasHandedOver = false
    /// What can be taken from here, of this reactor.
    var ports: [String: ListeningPort] = [:]

    init(_ path: String, within gracePeriod: Duration, on reactor: Reactor) {
        self.path = path
        self.gracePeriod = gracePeriod
        self.reactor = reactor
        let make: @Sendable () -> HandOverGroup = { HandOverGroup(at: path) }
        group = reactor.group?.shared("hand-over by \(path)", make) ?? make()
    }

    /// Looks for a former process, and arranges for its end; without one listens for the next.
    func begin() throws(IOError) {
        let hasFormer = try group.former.isThere()
        guard group.add(reactor) else { return }
        guard hasFormer else { return try open() }
        guard let ports = reactor.group else {
            reactor.addTrigger(.after, .startup) { [unowned self] in try takeOver() }
            return
        }
        let remote = reactor.remote(to: self)
        ports.whenAllReady { remote.callFromThread { place in try place.takeOver() } }
    }

    /// What a socket is called among the reactors of a group.
    private func name(_ key: String) -> String { "\(key) by \(path)" }

    /// Opens the port of one endpoint, over the former process's socket if it has one.
    func listen(
        _ endpoint: HandedOverEndpoint, _ factory: any StreamProtocolFactory,
        _ layers: StreamLayers
    ) throws(IOError) -> ListeningPort {
        var taken: Int32 = -1
        defer { if taken >= 0 { close(taken) } }
        return try endpoint.endpoint.listen(
            on: reactor, factory: factory, layers: layers, named: name(endpoint.key)
        ) { () throws(IOError) in
            guard case .taken(let descriptor) = try group.former.take(endpoint.key) else {
                return nil
            }
            taken = descriptor
            return descriptor
        }
    }

    /// Listens for the next process.
    private func open() throws(IOError) {
        var endpoint = ServerEndpoint.unix(path: path)
        endpoint.options.unixMode = 0o600
        try serve(endpoint)
    }

    /// This process is ready: the former one hands over its last port, and stops.
    private func takeOver() throws {
        // A start that failed runs its triggers too, and must not end who serves.
        guard reactor.isReady else { return }
        let former = group.former
        // From here on who listens at the path may be this process.
        defer { former.forget() }
        // Files of sockets that the former process made: it leaves them to us, or is gone.
        defer { setOwnership(true) }
        while true {
            switch try former.take(Self.ownKey) {
            case .gone:
                // What it gave is ours all the same, and the next process has to find us.
                return try open()
            case .none:
                // It is ending already.
                try open()
                _ = try former.stop()
                return
            case .taken(let descriptor):
                // Served only when it is ours alone: another new process may ask there meanwhile.
                defer { close(descriptor) }
                if try former.stop() { return try serve(.adopted(descriptor: descriptor)) }
            }
        }
    }

    private func serve(_ endpoint: ServerEndpoint) throws(IOError) {
        add(
            try endpoint.listen(on: reactor) { [unowned self] in HandOverServer(self) },
            as: Self.ownKey)
    }

    /// Another process may get the port's socket.
    fileprivate func add(_ port: ListeningPort, as key: String) {
        port.isSharedWithProcesses = true
        ports[key] = port
    }

    /// Whether the files of all ports go with this process.
    private func setOwnership(_ isOurs: Bool) {
        group.tellAll(of: path, from: reactor) { place in
            for port in place.ports.values { port.ownsFile = isOurs }
        }
    }

    /// Calls `body` with the descriptor of a port that this reactor has, or another of its group.
    func withDescriptor<Result>(
        of key: String, _ body: @Sendable (Int32?) -> sending Result
    ) -> sending Result {
        let own = ports[key]?.lentDescriptor
        guard own == nil, let group = reactor.group else { return body(own) }
        return group.withSocket(named: name(key), body)
    }

    /// The next process is ready.
    func handOver() {
        hasHandedOver = true
        setOwnership(false)
        reactor.stop(within: gracePeriod)
    }
}

/// Serves the next process.
private final class HandOverServer: LineProtocol {
    let lines = LineDecoder()
    private unowned let place: HandOverPlace

    init(_ place: HandOverPlace) { self.place = place }

    func connectionMade(_ transport: any StreamTransport) {
        // Whoever may take our sockets must be able to be us.
        let user = transport.peerCredentials?.userID
        guard user == geteuid() || user == 0 else { return transport.abortConnection() }
    }

    func lineReceived(_ line: RawSpan, from transport: any StreamTransport) throws {
        guard !place.hasHandedOver else { return transport.abortConnection() }
        let words = String(decoding: line).split(separator: " ", maxSplits: 1)
        switch (words.first, words.count) {
        case ("take", 2):
            guard let passing = transport as? any DescriptorTransport else {
                return transport.write("none\n")
            }
            // A duplicate, since the port may close before this has been sent.
            let descriptor = place.withDescriptor(of: String(words[1])) { descriptor in
                descriptor.map { fcntl($0, F_DUPFD_CLOEXEC, 0) } ?? -1
            }
            guard descriptor >= 0 else { return transport.write("none\n") }
            defer { close(descriptor) }
            try passing.write("taken\n".utf8Bytes.span, passing: [descriptor])
        case ("ready", 1):
            transport.write("stopping\n")
            place.handOver()
        default:
            transport.write("what?\n")
            transport.loseConnection()
        }
    }

    func shutdownRequested(_ transport: any StreamTransport) { transport.loseConnection() }
}

extension String {
    fileprivate var utf8Bytes: Bytes { Bytes(Array(utf8)) }
}
