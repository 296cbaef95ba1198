// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

// The end of one port, while the reactor goes on. The order is that of a stop (ReactorLife.swift):
// whoever waits is accepted, the port closes, what has arrived is delivered, and only then the
// protocols are asked to end. The port's connections are known by the options that they share, so
// that no connection pays a word for it.

/// A port that is being drained.
final class PortDrain {
    /// Set when its connections are lost.
    let event: DeferredEvent

    private let service: PortService
    private unowned let reactor: Reactor
    private var turnsLeft = 0
    private var isOver = false
    private var calls: [DelayedCall] = []

    init(_ service: PortService, on reactor: Reactor) {
        self.service = service
        self.reactor = reactor
        event = DeferredEvent(on: reactor)
    }

    private var members: [StreamConnection] {
        reactor.connections.elements.filter { $0.options === service.options }
    }

    /// The port is closed, and holds clients that it accepted last.
    func begin(within gracePeriod: Duration) {
        guard !event.isSet else { return }
        turnsLeft = 2 + reactor.connections.count / Reactor.streamsPerTurn
        calls.append(
            reactor.callLater(gracePeriod) { [unowned self] in
                isOver = true
                for member in members { member.abortConnection() }
                checkEnd()
            })
        deliverArrivals()
    }

    private func deliverArrivals() {
        guard !event.isSet else { return }
        guard turnsLeft > 0 else { return askProtocols() }
        turnsLeft -= 1
        reactor.callLater(.zero) { [weak self] in self?.deliverArrivals() }
    }

    private func askProtocols() {
        service.isDraining = true
        for member in members { member.requestShutdown(isPatient: true) }
        checkEnd()
    }

    /// Whether all have ended, whom this port has served or is still agreeing with.
    func checkEnd() {
        let hasAsked = service.isDraining || isOver
        guard hasAsked, members.isEmpty, isOver || !service.isAgreeing else { return }
        finish()
    }

    /// Nothing is left, or the run ends.
    func finish() {
        for call in calls { call.cancel() }
        calls = []
        reactor.drains.removeAll { $0 === self }
        event.set()
    }
}

extension ListeningPort {
    /// As many as Linux lets wait, unless the administrator chose otherwise (`net.core.somaxconn`).
    private static let waitingLimit = 4_096

    /// Closes the port and ends the connections that it accepted, so that every client gets its
    /// answer, while the reactor and its other ports go on.
    ///
    ///     port.drain(within: .seconds(30)).addCallback { print("nobody uses the old port any more") }
    ///
    /// In this order, as at a stop of the reactor: clients that wait are accepted, and the port
    /// closes; bytes that have arrived are delivered; the protocol of each connection gets
    /// `shutdownRequested`, where a client that connected less than a second ago and is still
    /// silent is asked when its first bytes were delivered. Connections that are left after the
    /// grace period are aborted. Called on the reactor; a further call waits for the same end.
    ///
    /// - Parameter gracePeriod: How long all of this may take.
    /// - Returns: Fires when the last of the port's connections is lost, at the earliest in the next
    ///   turn.
    @discardableResult
    public func drain(within gracePeriod: Duration = .seconds(10)) -> Deferred<Void> {
        reactor.checkThread()
        if let drain { return drain.event.wait() }
        let drain = PortDrain(service, on: reactor)
        self.drain = drain
        reactor.drains.append(drain)
        prepareToClose()
        // A ring may have a client under way, which comes in this turn.
        reactor.callLater(.zero) { [self] in
            close(servingAtMost: gracePeriod > .zero ? Self.waitingLimit : 0)
            drain.begin(within: gracePeriod)
        }
        return drain.event.wait()
    }
}

extension Reactor {
    /// Connections were lost.
    @inline(never)
    func checkDrains() {
        for drain in drains { drain.checkEnd() }
    }

    /// The run is over, and with it every connection.
    func finishDrains() {
        for drain in drains { drain.finish() }
    }
}
