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
    /// `Reactor.stop(lameDuck:within:)`. No client is refused, and none that has been
    /// accepted loses an answer. If nobody listens there, the socket is opened as without this. Either way
    /// this process then listens at `path` for the next one.
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
    ///   the other process; it is for the start of a program. Used by one reactor of a process: a
    ///   group of several is refused with `ErrorCode.notSupported`.
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
    ///   - endpoint: What is opened if nobody hands it over.
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
    /// - Throws: `IOError` that names the place and the cause, or the path if the other
    ///   process does not answer.
    @discardableResult
    public func listen(
        on reactor: Reactor, factory: any StreamProtocolFactory, layers: StreamLayers
    ) throws(IOError) -> ListeningPort {
        guard (reactor.group?.reactorCount ?? 1) == 1 else {
            throw IOError(
                .listen, function: "", code: .notSupported,
                subject: "a hand-over to several reactors (\(path))")
        }
        let place = try reactor.companion(of: HandOverPlaces.self).place(at: self)
        let port = try place.listen(self, factory, layers)
        place.ports[key] = port
        return port
    }
}

/// The hand-overs of a reactor, by path.
final class HandOverPlaces: ReactorCompanion {
    private unowned let reactor: Reactor
    private var places: [String: HandOverPlace] = [:]

    init(on reactor: Reactor) { self.reactor = reactor }

    func place(at endpoint: HandedOverEndpoint) throws(IOError) -> HandOverPlace {
        if let place = places[endpoint.path] { return place }
        let place = HandOverPlace(
            endpoint.path, within: endpoint.gracePeriod, on: reactor,
            former: try FormerProcess(at: endpoint.path))
        if place.former == nil {
            try place.open()
        } else {
            reactor.addTrigger(.after, .startup) { try place.takeOver() }
        }
        places[endpoint.path] = place
        return place
    }
}

/// One path by which ports are handed over: first from the former process, then to the next one.
final class HandOverPlace {
    /// The name of the hand-over's own port.
    static let ownKey = "the hand-over itself"

    let path: String
    private let gracePeriod: Duration
    private unowned let reactor: Reactor
    /// Nil if there is none, and when it has been told to stop.
    private(set) var former: FormerProcess?
    /// Whether there is a next process, which alone may be asked from then on.
    private(set) var hasHandedOver = false
    /// What can be taken from here.
    var ports: [String: ListeningPort] = [:]

    init(
        _ path: String, within gracePeriod: Duration, on reactor: Reactor, former: FormerProcess?
    ) {
        self.path = path
        self.gracePeriod = gracePeriod
        self.reactor = reactor
        self.former = former
    }

    /// Opens the port of one endpoint, over the former process's socket if it has one.
    func listen(
        _ endpoint: HandedOverEndpoint, _ factory: any StreamProtocolFactory,
        _ layers: StreamLayers
    ) throws(IOError) -> ListeningPort {
        guard case .taken(let descriptor) = try former?.take(endpoint.key) else {
            return try endpoint.endpoint.listen(on: reactor, factory: factory, layers: layers)
        }
        defer { close(descriptor) }
        return try ServerEndpoint.adopted(
            descriptor: descriptor, options: endpoint.endpoint.options
        ).listen(on: reactor, factory: factory, layers: layers)
    }

    /// Listens for the next process.
    func open() throws(IOError) {
        var endpoint = ServerEndpoint.unix(path: path)
        endpoint.options.unixMode = 0o600
        try serve(endpoint)
    }

    /// This process is ready: the former one hands over its last port, and stops.
    func takeOver() throws {
        // A start that failed runs its triggers too, and must not end who serves.
        guard reactor.isReady, let former = former.take() else { return }
        // Files of sockets that the former process made: it leaves them to us, or is gone.
        defer { for port in ports.values { port.ownsFile = true } }
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
        ports[Self.ownKey] = try endpoint.listen(on: reactor) { [unowned self] in
            HandOverServer(self)
        }
    }

    /// The next process is ready.
    func handOver() {
        hasHandedOver = true
        for port in ports.values { port.ownsFile = false }
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
            let port = place.ports[String(words[1])]
            guard let descriptor = port?.lentDescriptor,
                let passing = transport as? any DescriptorTransport
            else { return transport.write("none\n") }
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
