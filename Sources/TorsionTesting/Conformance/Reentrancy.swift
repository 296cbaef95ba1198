// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

@_spi(Backend) internal import TorsionCore

/// Closing anything inside any callback, and what would be stale then.
extension ConformanceSuite {
    static let reentrancy = [closeOtherInCallback, closeInMade, connectInLoss, descriptorReuse]

    static let closeOtherInCallback = Check(
        "what is closed in a callback of the same turn hears nothing"
    ) {
        backend in
        let world = try World(backend)
        let first = try world.connectedPair(), second = try world.connectedPair()
        // Both servers are readable in the same turn; whichever is called first aborts the other.
        first.server.onData = { _, _ in second.server.transport?.abortConnection() }
        second.server.onData = { _, _ in first.server.transport?.abortConnection() }
        first.client.transport.write("a")
        second.client.transport.write("b")
        try world.run { first.server.loss != nil || second.server.loss != nil }
        world.run(for: .milliseconds(2))
        let heard = [first.server, second.server].filter { !$0.text.isEmpty }
        try expectEqual(heard.count, 1)
        heard[0].transport.abortConnection()
        try world.run { first.client.loss != nil && second.client.loss != nil }
        try world.finish()
    }

    static let closeInMade = Check("losing or aborting in connectionMade ends the connection") {
        backend in
        for isAbort in [false, true] {
            let world = try World(backend)
            let server = Recorder(), client = Recorder()
            server.onMade = { isAbort ? $0.abortConnection() : $0.loseConnection() }
            let port = try world.reactor.listen(on: World.loopback) { _ in server }
            // An abort may come before the client has seen that it is connected.
            var hasFailed = false
            ClientEndpoint.address(port.localAddress).connect(on: world.reactor) { client }
                .whenFailed { _ in hasFailed = true }
            try world.run { server.loss != nil && (client.loss != nil || hasFailed) }
            try expectEqual(server.events, [.made, .lost(isAbort ? .aborted : .closedLocally)])
            port.stopListening()
            try world.finish()
        }
    }

    static let connectInLoss = Check("a new connection can be begun inside connectionLost") {
        backend in
        let world = try World(backend)
        var servers: [Recorder] = []
        let port = try world.reactor.listen(on: World.loopback) { _ in
            servers.append(Recorder())
            return servers.last
        }
        let endpoint = ClientEndpoint.address(port.localAddress)
        let again = Recorder()
        let client = Recorder()
        client.onLost = { _, transport in
            endpoint.connect(on: transport.reactor) { again }.whenFailed { _ in }
        }
        endpoint.connect(on: world.reactor) { client }.whenFailed { _ in }
        try world.run { servers.first?.transport != nil && client.transport != nil }
        servers[0].transport.loseConnection()
        try world.run {
            again.transport != nil && servers.count == 2 && servers[1].transport != nil
        }
        again.transport.loseConnection()
        try world.run { again.loss != nil && servers[1].loss != nil }
        servers = []
        port.stopListening()
        try world.finish()
    }

    // FAULTS: fd reuse race
    static let descriptorReuse = Check(
        "an event of a closed descriptor never reaches its successor"
    ) {
        backend in
        let world = try World(backend)
        let first = try world.connectedPair(), second = try world.connectedPair()
        let port = try world.reactor.listen(on: World.loopback) { _ in Recorder() }
        var fresh: [Recorder] = []
        // Closing frees a number that the very next socket takes, while the batch still holds
        // events of the old one.
        for (mine, other) in [(first.server, second.server), (second.server, first.server)] {
            mine.onData = { _, transport in
                other.transport?.abortConnection()
                let client = Recorder()
                fresh.append(client)
                ClientEndpoint.address(port.localAddress).connect(on: transport.reactor) { client }
                    .whenFailed { _ in }
            }
        }
        first.client.transport.write("a")
        second.client.transport.write("b")
        try world.run { fresh.first?.transport != nil }
        world.run(for: .milliseconds(2))
        try expectEqual(fresh[0].events, [.made])
        for client in fresh { client.transport?.abortConnection() }
        first.client.transport?.abortConnection()
        second.client.transport?.abortConnection()
        try world.run { world.reactor.statistics.openConnections == 0 }
        port.stopListening()
        try world.finish()
    }
}
