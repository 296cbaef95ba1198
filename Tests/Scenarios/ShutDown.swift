// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

import TorsionCore
import TorsionTesting

extension Scenario {
    /// A server is stopped while clients upload, some of which never read and never end; it ends in
    /// time, with every connection told once, and can run again.
    static let shutDown = Scenario("shutDown") { world in
        let ledger = Ledger(world)
        world.vary()
        let server = world.host("server")
        func listen(_ reactor: Reactor) throws {
            try ServerEndpoint.address(.ipv4(.any, port: 7)).listen(on: reactor) {
                EchoServer("server", ledger)
            }
        }
        try server.run(listen)
        let clients = try Uploader.start(count: 1 + world.dice.below(4), in: world, ledger)
        try world.run(for: .milliseconds(world.dice.below(3_000)))
        let patience = Duration.milliseconds([0, 50, 2_000, 40_000][world.dice.below(4)])
        let stop = world.elapsed
        server.reactor.stop(within: patience)
        server.note("stops within \(patience)")
        try world.run { !server.isRunning }
        let taken = world.elapsed - stop
        // A host that stalls is late by that; nothing else is.
        let hasStalled = world.network.faults.contains { $0.kind == .stall }
        guard taken < patience + .seconds(hasStalled ? 120 : 1) else {
            throw Violation(description: "the stop took \(taken) of \(patience)")
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
}
