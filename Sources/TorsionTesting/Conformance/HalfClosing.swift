// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

@_spi(Backend) internal import TorsionCore

extension ConformanceSuite {
    static let halfClosing = [
        eachDirection, readEndFirst, writeEndFirst, plainProtocolCloses, errorInHook,
        loseInHook, simultaneous,
    ]

    // S7
    static let eachDirection = Check(
        "after loseWriteConnection reading goes on until the peer's end"
    ) { backend in
        let world = try World(backend)
        let (client, server) = try world.connectedPair(
            client: HalfRecorder(), server: HalfRecorder())
        client.transport.write("question")
        client.transport.loseWriteConnection()
        client.transport.write("dropped")
        try world.run { server.events.last == .readLost }
        server.transport.write("answer")
        server.transport.loseWriteConnection()
        try world.run { server.loss != nil && client.loss != nil }
        try expectEqual(
            client.events.filter { $0 != .readLost },
            [.made, .writeLost, .data("answer"), .lost(.closedByPeer)])
        try expectEqual(server.text, "question")
        try expect(server.loss!.isClean)
        try world.finish()
    }

    // S7
    static let readEndFirst = Check("a half-closeable protocol writes on after the peer's end") {
        backend in
        let world = try World(backend)
        let server = HalfRecorder()
        server.onReadLost = { $0.write("more") }
        let (client, _) = try world.connectedPair(client: HalfRecorder(), server: server)
        client.transport.loseWriteConnection()
        try world.run { client.text == "more" }
        server.transport.loseConnection()
        try world.run { server.loss != nil && client.loss != nil }
        try expectEqual(server.events, [.made, .readLost, .lost(.closedLocally)])
        try world.finish()
    }

    // S7
    static let writeEndFirst = Check("loseConnection after loseWriteConnection waits for the peer")
    {
        backend in
        let world = try World(backend)
        let (client, server) = try world.connectedPair(
            client: HalfRecorder(), server: HalfRecorder())
        client.transport.loseWriteConnection()
        try world.run { server.events.last == .readLost && client.events.last == .writeLost }
        client.transport?.loseConnection()
        server.transport.write("discarded")
        server.transport.loseConnection()
        try world.run { server.loss != nil && client.loss != nil }
        try expectEqual(client.events, [.made, .writeLost, .lost(.closedLocally)])
        try world.finish()
    }

    // S7
    static let plainProtocolCloses = Check(
        "a peer's end closes a protocol that is not half-closeable"
    ) {
        backend in
        let world = try World(backend)
        let (client, server) = try world.connectedPair(client: HalfRecorder())
        client.transport.loseWriteConnection()
        try world.run { server.loss != nil && client.loss != nil }
        try expectEqual(server.loss, .closedByPeer)
        try expectEqual(client.loss, .closedByPeer)
        try world.finish()
    }

    // S7
    static let errorInHook = Check("an error in readConnectionLost is the reason of the loss") {
        backend in
        let world = try World(backend)
        let server = HalfRecorder()
        server.onReadLost = { _ in throw Mishap() }
        let (client, _) = try world.connectedPair(server: server)
        client.transport.loseWriteConnection()
        try world.run { server.loss != nil && client.loss != nil }
        try expectEqual(server.events, [.made, .readLost, .lost(.protocolFailed(Mishap()))])
        for _ in 0..<3 { world.reactor.turn(until: world.reactor.now) }
        try expectEqual(world.takeReports(), ["Mishap()"])
        try world.finish()
    }

    // S7
    static let loseInHook = Check("losing the connection inside either hook ends it once") {
        backend in
        let world = try World(backend)
        let client = HalfRecorder(), server = HalfRecorder()
        server.onReadLost = { $0.loseConnection() }
        client.onWriteLost = { $0.loseConnection() }
        _ = try world.connectedPair(client: client, server: server)
        client.transport.loseWriteConnection()
        try world.run { server.loss != nil && client.loss != nil }
        try expect(client.loss!.isClean && server.loss!.isClean)
        try world.finish()
    }

    // S7
    static let simultaneous = Check("both sides losing at once end cleanly") { backend in
        let world = try World(backend)
        let (client, server) = try world.connectedPair(
            client: HalfRecorder(), server: HalfRecorder())
        client.transport.loseWriteConnection()
        server.transport.loseWriteConnection()
        try world.run { server.loss != nil && client.loss != nil }
        try expect(client.loss!.isClean && server.loss!.isClean)
        try world.finish()
    }
}
