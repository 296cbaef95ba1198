// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

import TorsionCore
import TorsionTesting

extension Scenario {
    /// A server is stopped while clients upload, some of which never read and never end; it ends in
    /// time, with every connection told once, and can run again.
    ///
    /// With an ample grace period it ends when its clients have: slow ones and fast ones cleanly, deaf ones
    /// by the deadline of their close.
    static let shutDown = Scenario("shutDown") { world in
        let ledger = Ledger(world)
        world.vary()
        let server = world.host("server")
        var served: [(client: SocketAddress, audited: EchoServer)] = []
        func listen(_ reactor: Reactor) throws {
            try reactor.listen(on: .ipv4(.any, port: 7)) { client in
                let audited = EchoServer("server", ledger)
                served.append((client, audited))
                return audited
            }
        }
        try server.run(listen)
        let clients = try Uploader.start(
            count: 1 + world.dice.below(4), in: world, ledger, canBeSlow: true)
        try world.run(for: .milliseconds(world.dice.below(3_000)))
        let gracePeriod = Duration.milliseconds([0, 50, 2_000, 40_000, ample][world.dice.below(5)])
        let atStop = served.filter { !$0.audited.isOver }
        let stop = world.elapsed
        server.reactor.stop(within: gracePeriod)
        server.note("stops within \(gracePeriod)")
        try world.run { !server.isRunning }
        let taken = world.elapsed - stop
        // A host that stalls is late by that; nothing else is.
        let hasStalled = world.network.faults.contains { $0.kind == .stall }
        guard taken < gracePeriod + .seconds(hasStalled ? 120 : 1) else {
            throw Violation(description: "the stop took \(taken) of \(gracePeriod)")
        }
        if gracePeriod == .milliseconds(ample), world.isCalm {
            guard taken < gracePeriod else {
                throw Violation(description: "the stop took all of \(gracePeriod)")
            }
            try Uploader.expectCleanEnds(atStop, clients, in: world)
        }
        for client in clients { client.leave() }
        try world.run { clients.allSatisfy(\.isOver) && ledger.isQuiet }
        guard world.dice.percent(30) else { return }
        try server.run(listen)
        let more = try Uploader.start(count: 1, in: world, ledger, first: 9)
        try world.run(limit: .seconds(7_200)) {
            more.allSatisfy { $0.isOver || $0.received.byteCount > 0 }
        }
        for client in more { client.leave() }
        try world.run { more.allSatisfy(\.isOver) && ledger.isQuiet }
        if world.isCalm, more.contains(where: { $0.received.byteCount == 0 }) {
            throw Violation(description: "the second run answers nobody")
        }
    }

    /// In milliseconds: what no client needs that is not deaf, however slow it and its line are.
    private static let ample = 1_200_000
}

extension Uploader {
    /// Whoever reads gets everything; for a client that does not, the server waits as long as it has
    /// something queued itself, but not for ever.
    fileprivate static func expectCleanEnds(
        _ served: [(client: SocketAddress, audited: EchoServer)], _ clients: [Uploader],
        in world: SimulatedWorld
    ) throws {
        for (address, audited) in served {
            let client = clients.first { world.host($0.name).isAt(address) }
            guard let client, let loss = audited.loss else {
                throw Violation(description: "\(address) is nobody's, or was not lost")
            }
            guard loss.isClean || client.isDeaf && loss == .deadlinePassed(.closing) else {
                throw Violation(description: "a patient stop ended \(client.name) by \(loss)")
            }
        }
    }
}

extension SimulatedHost {
    /// Whether an address is one of this host.
    fileprivate func isAt(_ address: SocketAddress) -> Bool {
        if case .ipv4(let own, _) = address { own == self.address } else { false }
    }
}
