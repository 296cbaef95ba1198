// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

@_spi(Backend) internal import TorsionCore

extension ConformanceSuite {
    static let connecting = [
        addresses, addressesWhenLost, unixSockets, refused, cannotBind, cancelled, throwingOnMade,
        timesOut,
    ]

    // S14
    static let addresses = Check("both sides know each other's address, over IPv4 and IPv6") {
        backend in
        for address in [World.loopback, .ipv6(.loopback, port: 0)] {
            let world = try World(backend)
            let (client, server) = try world.connectedPair(at: address)
            try expectEqual(client.transport.peerAddress, server.transport.localAddress)
            try expectEqual(client.transport.localAddress, server.transport.peerAddress)
            try expect(client.transport.id != server.transport.id)
            client.transport?.loseConnection()
            try world.run { server.loss != nil && client.loss != nil }
            try world.finish()
        }
    }

    // S14
    static let addressesWhenLost = Check(
        "inside connectionLost each side still knows both addresses, however it ended"
    ) { backend in
        let ends: [(any StreamTransport) -> Void] = [
            { $0.loseConnection() }, { $0.abortConnection() },
            { $0.abortConnection(because: Mishap()) },
        ]
        for end in ends {
            let world = try World(backend)
            var known: [ObjectIdentifier: [SocketAddress]] = [:]
            let client = Recorder(), server = Recorder()
            for recorder in [client, server] {
                let id = ObjectIdentifier(recorder)
                recorder.onLost = { known[id] = [$1.localAddress, $1.peerAddress] }
            }
            _ = try world.connectedPair(client: client, server: server)
            let own = client.transport.localAddress, other = client.transport.peerAddress
            end(client.transport)
            try world.run { server.loss != nil && client.loss != nil }
            try expectEqual(known[ObjectIdentifier(client)], [own, other])
            try expectEqual(known[ObjectIdentifier(server)], [other, own])
            try world.finish()
        }
    }

    // S14
    static let unixSockets = Check("UNIX sockets connect, by abstract name") { backend in
        let world = try World(backend)
        let name = Array(
            "torsion-check-\(world.reactor.number)-\(world.reactor.now.nanoseconds)".utf8)
        let (client, server) = try world.connectedPair(at: .unix(.abstract(name)))
        try expectEqual(client.transport.peerAddress, .unix(.abstract(name)))
        client.transport.write("hello")
        client.transport?.loseConnection()
        try world.run { server.loss != nil && client.loss != nil }
        try expectEqual(server.text, "hello")
        try world.finish()
    }

    // S12
    static let refused = Check("a refused connect names the address and the code") { backend in
        let world = try World(backend)
        let port = try world.reactor.listen(on: World.quietLoopback) { _ in nil }
        let address = port.localAddress
        port.stopListening()
        try expectFailure(world, .address(address), .connectionRefused, named: "\(address)")
        try world.finish()
    }

    // S12
    static let cannotBind = Check("a connect that cannot bind fails with that address") { backend in
        let world = try World(backend)
        var endpoint = ClientEndpoint.tcp(host: "127.0.0.1", port: 9)
        // TEST-NET-1, RFC 5737: nobody's address.
        endpoint.options.bindAddress = .ipv4(IPv4Address(192, 0, 2, 1), port: 0)
        try expectFailure(world, endpoint, .addressNotAvailable, named: "192.0.2.1:0")
        try world.finish()
    }

    private static func expectFailure(
        _ world: World, _ endpoint: ClientEndpoint, _ code: ErrorCode, named name: String
    ) throws {
        var failure: (any Error)?
        endpoint.connect(on: world.reactor) { Recorder() }.whenFailed { failure = $0 }
        try world.run { failure != nil }
        let error = failure as? IOError
        try expectEqual(error?.code, code)
        try expectEqual(error?.subject, name)
    }

    /// Below a filter whose last bytes of the handshake the client's abort has overtaken, the server's
    /// protocol was never made.
    private static func hasHeardOfTheEnd(_ server: Recorder, _ world: World) -> Bool {
        server.loss != nil || world.reactor.statistics.handshakesFailed > 0
    }

    // S13
    static let cancelled = Check(
        "a connect can be cancelled at once, in the factory, and when made"
    ) {
        backend in
        for stage in 0..<3 {
            let world = try World(backend)
            let server = Recorder()
            let port = try world.reactor.listen(on: World.loopback) { _ in server }
            let client = Recorder()
            var connecting: Deferred<Recorder>?
            var failure: (any Error)?
            client.onMade = { _ in if stage == 2 { connecting?.cancel() } }
            connecting = ClientEndpoint.address(port.localAddress).connect(on: world.reactor) {
                if stage == 1 { connecting?.cancel() }
                return client
            }
            connecting?.whenFailed { failure = $0 }
            if stage == 0 { connecting?.cancel() }
            try world.run { failure != nil }
            try expect(failure is CancellationError, "\(failure!)")
            try world.run { stage == 0 || hasHeardOfTheEnd(server, world) }
            connecting = nil
            port.stopListening()
            world.run(for: .milliseconds(2))
            try expectEqual(client.events.count, stage == 2 ? 2 : 0)
            try world.finish()
        }
    }

    static let throwingOnMade = Check("if connectionMade throws, the connect fails with that") {
        backend in
        let world = try World(backend)
        let client = Recorder()
        client.onMade = { _ in throw Mishap() }
        let server = Recorder()
        let port = try world.reactor.listen(on: World.loopback) { _ in server }
        var failure: (any Error)?
        ClientEndpoint.address(port.localAddress).connect(on: world.reactor) { client }
            .whenFailed { failure = $0 }
        try world.run { failure != nil && hasHeardOfTheEnd(server, world) }
        try expect(failure is Mishap, "\(failure!)")
        port.stopListening()
        try world.finish()
    }

    // S12
    static let timesOut = Check("a connect that nobody answers times out") { backend in
        let world = try World(backend)
        // A listener whose queue is full answers nobody, on Linux.
        var options = StreamOptions()
        options.backlog = 1
        options.connectTimeout = .milliseconds(60)
        let listener = try world.reactor.backend.listen(
            on: World.loopback, options: options, receiver: NoReceiver())
        var outcomes: [Bool] = []
        var codes: Set<ErrorCode> = []
        let clients = (0..<6).map { _ in Recorder() }
        for client in clients {
            ClientEndpoint.address(listener.localAddress, options: options)
                .connect(on: world.reactor) { client }
                .addCallback { _ in outcomes.append(true) }
                .whenFailed { error in
                    outcomes.append(false)
                    if let error = error as? IOError { codes.insert(error.code) }
                }
        }
        try world.run { outcomes.count == clients.count }
        try expect(outcomes.contains(false), "\(outcomes)")
        try expectEqual(codes, [.timedOut])
        for client in clients { client.transport?.abortConnection() }
        listener.close()
        try world.finish()
    }
}

/// A listener's receiver that is never called, since nothing is accepted.
final class NoReceiver: ListenerReceiver {
    func listenerDidAccept(_ stream: any BackendStream) { stream.close() }
    func listenerDidFail(_ code: ErrorCode) {}
}
