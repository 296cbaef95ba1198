// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

/// What one port does with a client: its filters agree, its factory makes a protocol.
final class PortService {
    /// nil when the port has ended and needs it no more: see ``portEnded()``.
    @exclusivity(unchecked) private(set) var factory: (any StreamProtocolFactory)?
    let options: SharedOptions
    private let filters: [FilterMaker]
    private var observers: [any PortObserver]
    /// Whether its connections stand on their sockets, and nobody watches them.
    @exclusivity(unchecked) private(set) var isPlain: Bool
    @exclusivity(unchecked) private var handshakeCount = 0
    @exclusivity(unchecked) private var hasEnded = false
    /// Its port is being drained: who is served from now on is asked to end at once.
    @exclusivity(unchecked) var isDraining = false
    /// Given each connection before it is opened, for those who play a port.
    private let whenServed: ((StreamConnection) -> Void)?

    /// - Parameters:
    ///   - factory: Makes the protocol of each connection.
    ///   - layers: What stands below it.
    ///   - options: Of each connection.
    ///   - reactor: Where the port is.
    ///   - whenServed: Given each connection before it is opened.
    init(
        factory: any StreamProtocolFactory, layers: StreamLayers, options: StreamOptions,
        on reactor: Reactor, whenServed: ((StreamConnection) -> Void)? = nil
    ) {
        self.whenServed = whenServed
        self.factory = factory
        self.options = SharedOptions(options)
        filters = reactor.streamFilters + reactor.endFilters.server + layers.filters
        observers = layers.observers.map { $0() }
        isPlain = filters.isEmpty && observers.isEmpty
    }

    /// Whether fewer clients than allowed are agreeing on terms.
    var hasRoomForHandshake: Bool { handshakeCount < options.value.handshakeLimit }

    /// Whether it waits for the filters of a client.
    var isAgreeing: Bool { handshakeCount > 0 }

    /// Serves a client when its filters have agreed; `ended` is called when there is room for another
    /// handshake.
    func agree(
        over stream: any BackendStream, on reactor: Reactor, ended: @escaping () -> Void
    ) {
        let peer = stream.peerAddress
        let members: [any ConnectionObserver]
        do {
            members = try observers.compactMap { try $0.clientArrived(from: peer) }
        } catch {
            stream.close()
            reactor.connectionObserver.refused?(error, peer)
            return report(error, in: "admitting \(peer)", on: reactor)
        }
        let observer = ObserverList.of(members)
        handshakeCount += 1
        reactor.clientHandshakes += 1
        let limit = options.value.handshakeTimeout
        _ = reactor.agree(over: AgreedStream(stream: stream), filters, within: limit) { outcome in
            self.handshakeCount -= 1
            reactor.clientHandshakes -= 1
            switch outcome {
            case .success(let agreed): self.serve(agreed, observer, on: reactor)
            case .failure(let error):
                reactor.counters.handshakeLosses.add(ConnectionLoss(streamFailed: error))
                for observer in self.observers { observer.handshakeFailed(error, with: peer) }
                reactor.connectionObserver.refused?(error, peer)
                self.report(error, in: "the handshake with \(peer)", on: reactor)
            }
            ended()
            self.releaseFactory()
        }
    }

    // MARK: The end of the port

    /// No client comes any more.
    ///
    /// The program's factory is released, as a lost connection's protocol is, so that a closure which
    /// holds its own port is no circle. Clients that are agreeing on terms still need it.
    func portEnded() {
        hasEnded = true
        releaseFactory()
    }

    private func releaseFactory() {
        guard hasEnded, handshakeCount == 0 else { return }
        // Taken out first: what is released may call its port.
        _ = factory.take()
    }

    // MARK: Clients

    /// Serves a client of a plain port.
    func serve(_ stream: any BackendStream, on reactor: Reactor) {
        serve(stream, from: stream.peerAddress, on: reactor) { _ in }
    }

    private func serve(
        _ agreed: AgreedStream, _ observer: (any ConnectionObserver)?, on reactor: Reactor
    ) {
        serve(agreed.stream, from: agreed.peerAddress, on: reactor) {
            $0.take(agreed, watchedBy: observer)
        }
    }

    /// Makes a protocol, and connects it.
    @inline(__always)
    private func serve(
        _ stream: any BackendStream, from peer: SocketAddress, on reactor: Reactor,
        _ prepare: (StreamConnection) -> Void
    ) {
        do {
            guard let proto = try factory?.makeProtocol(for: peer) else {
                return refuse(stream, peer, on: reactor)
            }
            let connection = StreamConnection(
                reactor: reactor, stream, proto: consume proto, options: options)
            prepare(connection)
            whenServed?(connection)
            // What `connectionMade` throws is the reason of the loss, and reported with it.
            try? connection.open(isServed: true)
            if reactor.endsClients || isDraining { connection.requestShutdown(isPatient: true) }
        } catch {
            stream.close()
            reactor.connectionObserver.refused?(error, peer)
            reactor.report(error, in: "making a protocol for \(peer)")
        }
    }

    /// The factory does not want this client.
    @inline(never)
    private func refuse(
        _ stream: any BackendStream, _ peer: SocketAddress, on reactor: Reactor
    ) {
        stream.close()
        guard let refused = reactor.connectionObserver.refused else { return }
        refused(
            IOError(.accept, function: "", code: .connectionRefused, subject: peer), peer)
    }

    /// One more who watches its clients from now on.
    func observe(by observer: any PortObserver) {
        observers.append(observer)
        isPlain = false
    }

    private func report(_ error: any Error, in place: String, on reactor: Reactor) {
        // A refusal is on purpose; a peer that goes before it is served, or says nothing, is every
        // port's lot, and must not fill a log.
        if error is any PeerRefusal || error is IOError { return }
        switch error as? ConnectionLoss {
        case .deadlinePassed?, .truncated?: return
        case nil, .closedByPeer?, .closedLocally?, .failed?, .aborted?, .writeLimitExceeded?,
            .protocolFailed?:
            break
        }
        reactor.report(error, in: place)
    }
}
