// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

internal import TorsionCore

extension ConformanceSuite {
    static let accepting = [refusedPeer, closingInFactory, bindAgain, inUse, manyAtOnce]

    // S14
    static let refusedPeer = Check("a factory that returns nil, or throws, closes the connection") {
        backend in
        let world = try World(backend)
        var seen: [UnhandledError] = []
        world.reactor.unhandledError = { seen.append($0) }
        var count = 0
        let port = try world.reactor.listen(on: World.loopback) { _ in
            count += 1
            if count == 2 { throw Mishap() }
            return nil
        }
        for _ in 0..<2 {
            let client = Recorder()
            ClientEndpoint.address(port.localAddress).connect(on: world.reactor) { client }
                .whenFailed { _ in }
            try world.run { client.loss != nil }
        }
        try expect(seen.count == 1 && seen[0].error is Mishap, "\(seen)")
        port.stopListening()
        try world.finish()
    }

    // S16
    static let closingInFactory = Check("closing the port inside the factory keeps that client") {
        backend in
        let world = try World(backend)
        let server = Recorder()
        var port: ListeningPort?
        port = try world.reactor.listen(on: World.loopback) { _ in
            port?.stopListening()
            return server
        }
        let client = Recorder()
        ClientEndpoint.address(port!.localAddress).connect(on: world.reactor) { client }
            .whenFailed { _ in }
        try world.run { client.transport != nil && server.transport != nil }
        try expect(!port!.isListening)
        client.transport?.loseConnection()
        try world.run { server.loss != nil && client.loss != nil }
        port = nil
        try world.finish()
    }

    // S16
    static let bindAgain = Check("after stopListening has fired the address can be bound again") {
        backend in
        let world = try World(backend)
        let first = try world.reactor.listen(on: World.loopback) { _ in nil }
        var hasFired = false
        first.stopListening().addCallback { hasFired = true }.whenFailed { _ in }
        try world.run { hasFired }
        let second = try world.reactor.listen(on: first.localAddress) { _ in nil }
        first.stopListening()
        second.stopListening()
        try world.finish()
    }

    static let inUse = Check("a port in use is an error that names the address") { backend in
        let world = try World(backend)
        let port = try world.reactor.listen(on: World.loopback) { _ in nil }
        do throws(IOError) {
            _ = try world.reactor.listen(on: port.localAddress) { _ in nil }
            throw IOError(.listen, function: "", code: .other(0))
        } catch {
            let text = "cannot listen on \(port.localAddress): address already in use (EADDRINUSE)"
            try expect("\(error)".hasPrefix(text), "\(error)")
        }
        port.stopListening()
        try world.finish()
    }

    static let manyAtOnce = Check("three hundred clients at once are all accepted") { backend in
        let world = try World(backend)
        var made = 0, lost = 0
        let port = try world.reactor.listen(on: World.loopback) { _ in
            let recorder = Recorder()
            recorder.onMade = { _ in made += 1 }
            recorder.onLost = { _, _ in lost += 1 }
            return recorder
        }
        var clients: [Recorder] = []
        for _ in 0..<300 {
            let client = Recorder()
            clients.append(client)
            ClientEndpoint.address(port.localAddress).connect(on: world.reactor) { client }
                .whenFailed { _ in }
        }
        try world.run { made == 300 && clients.allSatisfy { $0.transport != nil } }
        for client in clients { client.transport?.loseConnection() }
        try world.run { lost == 300 && clients.allSatisfy { $0.loss != nil } }
        port.stopListening()
        try world.finish()
    }
}
