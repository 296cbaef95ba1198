// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

@_spi(Backend) internal import TorsionCore

// U2
extension ConformanceSuite {
    static let datagrams = [
        answers, impossibleAddresses, connectedPort, refusal, refusalOfOthers, datagramErrors,
        tooLong, cannotBindPort,
        stopInCallback, stoppedReactor, unixFile,
    ]

    static let answers = Check(
        "datagrams arrive whole, in order, with addresses that can be answered, in every family"
    ) { backend in
        let world = try World(backend)
        for address in world.datagramAddresses() {
            let server = Mailbox(), client = Mailbox()
            server.onReceived = { text, sender, transport in
                try transport.write("re: " + text, to: sender)
            }
            let port = try world.reactor.listenForDatagrams(on: address, server)
            let own = try world.reactor.listenForDatagrams(
                on: world.anotherAddress(like: address), client)
            for text in ["one", "", "three"] { try own.write(text, to: port.localAddress) }
            try world.run { client.texts.count == 3 }
            try expectEqual(server.texts, ["one", "", "three"])
            try expectEqual(client.texts, ["re: one", "re: ", "re: three"])
            try expectEqual(server.senders, Array(repeating: own.localAddress, count: 3))
            try expectEqual(client.senders, Array(repeating: port.localAddress, count: 3))
            try expectEqual(port.statistics.received, 3)
            try expectEqual(port.statistics.sent, 3)
            port.stopListening()
            own.stopListening()
        }
        try world.finish()
    }

    static let impossibleAddresses = Check(
        "an address that cannot be reached costs its datagram only"
    ) { backend in
        let world = try World(backend)
        let server = Mailbox(), sender = Mailbox()
        let port = try world.reactor.listenForDatagrams(on: World.loopback, server)
        let client = try world.reactor.listenForDatagrams(on: World.loopback, sender)
        let tooLong = SocketAddress.unix(.path(String(repeating: "x", count: 200)))
        world.reactor.performEvent {
            for address in [port.localAddress, tooLong, .ipv6(.loopback, port: 9), tooLong] {
                try? client.write("hello", to: address)
            }
            try? client.write("hello", to: port.localAddress)
        }
        try world.run { server.texts.count == 2 && sender.events.count == 4 }
        try expectEqual(
            sender.events,
            [
                .started, .failed(.nameTooLong), .failed(.addressFamilyNotSupported),
                .failed(.nameTooLong),
            ])
        world.stopAll([port, client])
        try world.finish()
    }

    static let connectedPort = Check("a connected port hears its peer only") { backend in
        let world = try World(backend)
        let peer = Mailbox(), stranger = Mailbox(), client = Mailbox()
        let peerPort = try world.reactor.listenForDatagrams(on: World.loopback, peer)
        let strangerPort = try world.reactor.listenForDatagrams(on: World.loopback, stranger)
        var options = DatagramOptions()
        options.peerAddress = peerPort.localAddress
        let port = try world.reactor.listenForDatagrams(
            on: World.loopback, options: options, client)
        try expectEqual(port.peerAddress, peerPort.localAddress)
        try port.write("hello")
        try world.run { peer.texts == ["hello"] }
        try strangerPort.write("psst", to: port.localAddress)
        try peerPort.write("hello yourself", to: peer.senders[0])
        try world.run { !client.texts.isEmpty }
        world.run(for: .milliseconds(2))
        try expectEqual(client.texts, ["hello yourself"])
        try expectEqual(client.senders, [peerPort.localAddress])
        world.stopAll([port, strangerPort, peerPort])
        try world.finish()
    }

    // U2
    static let refusal = Check("a connected port is told of a refusal, also while it is paused") {
        backend in
        for pauses in [false, true] {
            let world = try World(backend)
            let nobody = try world.reactor.listenForDatagrams(on: World.quietLoopback, Mailbox())
            nobody.stopListening()
            let client = Mailbox()
            let port = try world.reactor.listenForDatagrams(on: World.loopback, client)
            try port.connect(to: nobody.localAddress)
            if pauses { port.pauseProducing() }
            try port.write("anybody there?")
            try world.run { client.events.contains(.refused) }
            // It goes on: somebody comes.
            let late = Mailbox()
            let latePort = try world.reactor.listenForDatagrams(on: nobody.localAddress, late)
            try port.write("and now?")
            try world.run { late.texts == ["and now?"] }
            world.stopAll([port, latePort])
            try world.run { client.events.last == .stopped }
            try expect(
                client.events.allSatisfy { [.started, .refused, .stopped].contains($0) },
                "\(client.events)")
            try world.finish()
        }
    }

    // U2
    static let refusalOfOthers = Check("a port that is not connected is not told of a refusal") {
        backend in
        let world = try World(backend)
        let nobody = try world.reactor.listenForDatagrams(on: World.quietLoopback, Mailbox())
        nobody.stopListening()
        let client = Mailbox()
        let port = try world.reactor.listenForDatagrams(on: World.loopback, client)
        for _ in 0..<3 {
            try port.write("anybody there?", to: nobody.localAddress)
            world.run(for: .milliseconds(2))
        }
        try expectEqual(port.statistics.sent, 3)
        try expectEqual(client.events, [.started])
        port.stopListening()
        try world.finish()
    }

    // U2
    static let datagramErrors = Check("an error in the protocol is reported and leaves the port up")
    { backend in
        let world = try World(backend)
        var reports: [String] = []
        world.reactor.unhandledError = { reports.append("\($0)") }
        let server = Mailbox()
        server.onStarted = { _ in throw Mishap() }
        server.onReceived = { text, _, _ in if text == "bad" { throw Mishap() } }
        let port = try world.reactor.listenForDatagrams(on: World.loopback, server)
        try expectEqual(reports.count, 1)
        let client = try world.reactor.listenForDatagrams(on: World.loopback, Mailbox())
        for text in ["good", "bad", "bad", "good"] {
            try client.write(text, to: port.localAddress)
        }
        try world.run { server.texts.count == 4 }
        try expectEqual(reports.count, 3)
        try expect(reports.allSatisfy { $0.contains("\(port.localAddress)") }, "\(reports)")
        world.stopAll([port, client])
        try world.finish()
    }

    // U2
    static let tooLong = Check("the longest datagram arrives, and a longer one is an error") {
        backend in
        let world = try World(backend)
        let server = Mailbox()
        let port = try world.reactor.listenForDatagrams(on: World.loopback, server)
        let sender = Mailbox()
        let client = try world.reactor.listenForDatagrams(on: World.loopback, sender)
        let longest = [UInt8].pattern(count: 65_507)
        try client.write("before", to: port.localAddress)
        var code: ErrorCode?
        do throws(IOError) { try client.write(longest + [0], to: port.localAddress) } catch {
            code = error.code
            try expectEqual(error.subject, "\(port.localAddress)")
        }
        // It is told later if the kernel had no room.
        try world.run {
            code == .messageTooLong || sender.events.contains(.failed(.messageTooLong))
        }
        try client.write(longest, to: port.localAddress)
        try world.run { server.byteCounts.count == 2 }
        try expectEqual(server.byteCounts, [6, longest.count])
        try expectEqual(client.statistics.unsent, 1)
        world.stopAll([port, client])
        try world.finish()
    }

    static let cannotBindPort = Check("a port in use is an error that names the address") {
        backend in
        let world = try World(backend)
        let port = try world.reactor.listenForDatagrams(on: World.quietLoopback, Mailbox())
        var failure: IOError?
        do throws(IOError) {
            try world.reactor.listenForDatagrams(on: port.localAddress, Mailbox())
        } catch { failure = error }
        try expectEqual(failure?.code, .addressInUse)
        try expectEqual(failure?.subject, "\(port.localAddress)")
        port.stopListening()
        // At once: nothing of it is left.
        let again = try world.reactor.listenForDatagrams(on: port.localAddress, Mailbox())
        again.stopListening()
        try world.finish()
    }

    static let stopInCallback = Check("a port that is closed in a callback is told once, last") {
        backend in
        let world = try World(backend)
        let server = Mailbox(), client = Mailbox()
        server.onReceived = { _, sender, transport in
            try transport.write("last words", to: sender)
            transport.stopListening()
            transport.stopListening()
            try transport.write("too late", to: sender)
            if server.events.contains(.stopped) { throw Mishap() }
        }
        let port = try world.reactor.listenForDatagrams(on: World.loopback, server)
        let own = try world.reactor.listenForDatagrams(on: World.loopback, client)
        for _ in 0..<3 { try own.write("hello", to: port.localAddress) }
        try world.run { server.events.last == .stopped }
        // Unless the kernel had no room, they arrive.
        let lastWords = port.statistics.unsent == 0 ? ["last words"] : []
        try world.run { client.texts == lastWords }
        world.run(for: .milliseconds(2))
        try expectEqual(server.texts, ["hello"])
        try expectEqual(server.events.count, 3)
        own.stopListening()
        try world.finish()
    }

    static let stoppedReactor = Check("a reactor's stop ends its ports, and tells them") {
        backend in
        let reactor = Reactor(backend: backend, services: nil)
        let server = Mailbox()
        try reactor.run(signals: .ignore) { reactor in
            try reactor.listenForDatagrams(on: World.loopback, server)
            reactor.addTrigger(.after, .shutdown) { server.note(.failed(.canceled)) }
            reactor.callLater(.zero) { reactor.stop() }
        }
        // The trigger comes behind the end.
        try expectEqual(server.events, [.started, .stopped, .failed(.canceled)])
        try expectEqual(reactor.statistics.datagramPorts, 0)
        try expectEqual(reactor.statistics.openHandles, 0)
    }

    static let unixFile = Check(
        "a UNIX port's file goes with it; that of a dead one is replaced, of a live one not",
        needsDescriptors: true
    ) { backend in
        let world = try World(backend)
        let folder = SocketFolder()
        // Also where the backend cannot have such a port, and this check fails.
        defer { folder.remove() }
        let path = folder.path
        let address = SocketAddress.unix(.path(path))
        var options = DatagramOptions()
        options.unixMode = 0o600
        leaveDeadSocketFile(path)
        try expect(fileMode(path) != nil, "no file")
        let port = try world.reactor.listenForDatagrams(on: address, options: options, Mailbox())
        try expectEqual(fileMode(path), 0o600)
        var failure: IOError?
        do throws(IOError) {
            try world.reactor.listenForDatagrams(on: address, Mailbox())
        } catch { failure = error }
        try expectEqual(failure?.code, .addressInUse)
        port.stopListening()
        try expectEqual(fileMode(path), nil)
        try world.finish()
    }
}

/// A datagram protocol that writes down what happens to it.
final class Mailbox: DatagramProtocol {
    enum Event: Equatable {
        case started, received, refused, stopped
        case failed(ErrorCode)
    }

    private(set) var events: [Event] = []
    private(set) var texts: [String] = []
    private(set) var byteCounts: [Int] = []
    private(set) var senders: [SocketAddress] = []

    var onStarted: (any DatagramTransport) throws -> Void = { _ in }
    var onReceived: (String, SocketAddress, any DatagramTransport) throws -> Void = { _, _, _ in }

    func transportStarted(_ transport: any DatagramTransport) throws {
        events.append(.started)
        try onStarted(transport)
    }

    func datagramReceived(
        _ bytes: RawSpan, from address: SocketAddress, on transport: any DatagramTransport
    ) throws {
        let text = String(decoding: bytes)
        events.append(.received)
        texts.append(text)
        byteCounts.append(bytes.byteCount)
        senders.append(address)
        try onReceived(text, address, transport)
    }

    func connectionRefused(on transport: any DatagramTransport) { events.append(.refused) }

    func datagramFailed(_ error: IOError, on transport: any DatagramTransport) {
        events.append(.failed(error.code))
    }

    func transportStopped(_ transport: any DatagramTransport) {
        events.append(.stopped)
        // What the check's closures hold may be the mailbox itself.
        onStarted = { _ in }
        onReceived = { _, _, _ in }
    }

    func note(_ event: Event) { events.append(event) }
}

extension World {
    /// One of each family: IPv4, IPv6, a path and an abstract name.
    func datagramAddresses() -> [SocketAddress] {
        let name = "torsion-check-\(reactor.number)-\(reactor.now.nanoseconds)"
        return [
            World.loopback, .ipv6(.loopback, port: 0), .unix(.path("/tmp/" + name)),
            .unix(.abstract(Array(name.utf8))),
        ]
    }

    /// Another of the same family, chosen by the kernel if it is of UNIX.
    func anotherAddress(like address: SocketAddress) -> SocketAddress {
        if case .unix = address { .unix(.unnamed) } else { address }
    }

    func stopAll(_ ports: [DatagramPort]) {
        for port in ports { port.stopListening() }
    }
}
