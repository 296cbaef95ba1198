// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

@_spi(Backend) internal import TorsionCore

// U2: more than one receiver, and calls that fail.
extension ConformanceSuite {
    static let datagramGroups = [broadcast, multicastIPv4, multicastIPv6, eachCallOfDatagrams]

    static let broadcast = Check("broadcast is an error unless it is allowed") { backend in
        let world = try World(backend)
        let server = Mailbox(), timid = Mailbox()
        let port = try world.reactor.listenForDatagrams(on: .ipv4(.any, port: 0), server)
        // The broadcast address of 127.0.0.0/8.
        let everybody = SocketAddress.ipv4(
            IPv4Address(127, 255, 255, 255), port: port.localAddress.port!)
        let first = try world.reactor.listenForDatagrams(on: World.loopback, timid)
        try first.write("may I?", to: everybody)
        try first.write("hello", to: .ipv4(.loopback, port: everybody.port!))
        try world.run { timid.events.count == 2 && server.texts.count == 1 }
        try expectEqual(timid.events, [.started, .failed(.accessDenied)])
        var options = DatagramOptions()
        options.allowsBroadcast = true
        let second = try world.reactor.listenForDatagrams(
            on: World.loopback, options: options, Mailbox())
        try second.write("hello all", to: everybody)
        try world.run { server.texts.count == 2 }
        try expectEqual(server.texts, ["hello", "hello all"])
        world.stopAll([port, first, second])
        try world.finish()
    }

    static let multicastIPv4 = Check("an IPv4 group reaches those who joined, until they leave") {
        backend in
        // Administratively scoped: RFC 2365.
        let group = IPv4Address(239, 255, 76, 83)
        let isReachable = try multicast(
            on: backend, at: .ipv4(.any, port: 0), .ipv4(group, on: .address(.loopback)),
            through: .address(.loopback)
        ) { .ipv4(group, port: $0) }
        try expect(isReachable, "no multicast on the loopback interface")
    }

    static let multicastIPv6 = Check("an IPv6 group reaches those who joined, until they leave") {
        backend in
        // ff01: what never leaves the interface, RFC 4291 §2.7. Loopback is number 1 in each
        // network namespace; many machines have no route for multicast there, and some nowhere.
        for number: UInt32 in [1, 0] {
            let group = IPv6Address(high: 0xff01_0000_0000_0000, low: 0x7e57, scopeID: number)
            let isReachable = try multicast(
                on: backend, at: .ipv6(.any, port: 0), .ipv6(group),
                through: number == 0 ? nil : .number(number)
            ) { .ipv6(group, port: $0) }
            if isReachable { return }
        }
    }

    /// Two that join, one that does not, and all three on the same port.
    ///
    /// - Returns: Whether this machine can send to the group.
    private static func multicast(
        on backend: BackendChoice, at address: SocketAddress, _ group: MulticastGroup,
        through interface: NetworkInterface?, _ groupAddress: (UInt16) -> SocketAddress
    ) throws -> Bool {
        let world = try World(backend)
        var options = DatagramOptions()
        options.reuseAddress = true
        options.multicastInterface = interface
        options.multicastHops = 0
        let boxes = [Mailbox(), Mailbox(), Mailbox()], sender = Mailbox()
        var place = address
        var ports: [DatagramPort] = []
        for box in boxes {
            ports.append(try world.reactor.listenForDatagrams(on: place, options: options, box))
            place = ports[0].localAddress
        }
        try ports[0].join(group)
        try ports[1].join(group)
        let client = try world.reactor.listenForDatagrams(on: address, options: options, sender)
        ports.append(client)
        let everybody = groupAddress(place.port!)
        try client.write("one", to: everybody)
        try world.run { client.statistics.sent + client.statistics.unsent == 1 }
        if client.statistics.sent == 1 {
            try world.run { boxes[0].texts == ["one"] && boxes[1].texts == ["one"] }
            try ports[0].leave(group)
            try client.write("two", to: everybody)
            try world.run { boxes[1].texts == ["one", "two"] }
            try expectEqual(boxes[0].texts, ["one"])
        } else {
            try world.run { sender.events == [.started, .failed(.networkUnreachable)] }
            try ports[0].leave(group)
        }
        try expectEqual(boxes[2].texts, [])
        try expectTwiceLeft(ports[0], group)
        let isReachable = client.statistics.sent > 0
        world.stopAll(ports)
        try world.finish()
        return isReachable
    }

    private static func expectTwiceLeft(_ port: DatagramPort, _ group: MulticastGroup) throws {
        var failure: IOError?
        do throws(IOError) { try port.leave(group) } catch { failure = error }
        try expectEqual(failure?.operation, .configure)
        try expectEqual(failure?.subject, "\(group)")
    }

    // FAULTS, X
    static let eachCallOfDatagrams = Check(
        "whichever call of a datagram echo fails, the ports stay up"
    ) { backend in
        let count = try failingEachCall(of: backend, with: .noBufferSpace) { backend in
            try echoOnce(on: backend)
        }
        // Two bind, two send, two receive.
        try expect(count >= 6, "\(count) calls")
    }

    private static func echoOnce(on backend: BackendChoice) throws {
        guard let world = try? World(backend) else { return }
        let server = Mailbox(), client = Mailbox()
        server.onReceived = { text, sender, transport in try transport.write(text, to: sender) }
        guard let port = try? world.reactor.listenForDatagrams(on: World.loopback, server) else {
            return try world.finish()
        }
        if let own = try? world.reactor.listenForDatagrams(on: World.loopback, client) {
            // What was lost is asked again.
            for _ in 0..<3 {
                try own.write("hello", to: port.localAddress)
                world.run(for: .milliseconds(5))
                if !client.texts.isEmpty { break }
            }
            try expect(!client.texts.isEmpty, "\(server.events) \(client.events)")
            own.stopListening()
        }
        port.stopListening()
        try world.finish()
    }
}
