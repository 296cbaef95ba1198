// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

import CCallFaults
import Glibc
import Testing
import Torsion
import TorsionTesting

/// Datagrams to one peer leave as segments of one message where that can be, which nobody may notice
/// but by the cost.
@Suite struct DatagramSegmentTests {
    private final class Box: DatagramProtocol {
        private(set) var received: [[UInt8]] = []
        private(set) var failures: [IOError] = []

        func datagramReceived(
            _ bytes: RawSpan, from address: SocketAddress, on transport: any DatagramTransport
        ) { received.append(bytes.withUnsafeBytes { Array($0) }) }

        func datagramFailed(_ error: IOError, on transport: any DatagramTransport) {
            failures.append(error)
        }
    }

    /// A sender and some receivers on one reactor.
    private final class World {
        let reactor: Reactor
        let sender: DatagramPort
        let senders = Box()
        var ports: [DatagramPort] = []
        var boxes: [Box] = []

        init(_ name: String, receivers: Int = 1, connected: Bool = false) throws {
            reactor = Reactor(backend: try .named(name, among: testedBackends), services: nil)
            var options = DatagramOptions()
            options.receiveBufferBytes = 1 << 20
            for _ in 0..<receivers {
                let box = Box()
                boxes.append(box)
                ports.append(
                    try reactor.listenForDatagrams(
                        on: .ipv4(.loopback, port: 0), options: options, box))
            }
            sender = try reactor.listenForDatagrams(on: .ipv4(.loopback, port: 0), senders)
            if connected { try sender.connect(to: ports[0].localAddress) }
        }

        /// Sends all in one event, and waits until as many have come.
        func send(_ datagrams: [(bytes: [UInt8], to: Int)]) {
            let before = boxes.reduce(0) { $0 + $1.received.count }
            reactor.performEvent {
                for datagram in datagrams {
                    try? sender.write(datagram.bytes, to: ports[datagram.to].localAddress)
                }
            }
            let end = reactor.now.advanced(by: .seconds(20))
            while boxes.reduce(0, { $0 + $1.received.count }) < before + datagrams.count,
                reactor.now < end
            { reactor.turn(until: end) }
        }
    }

    /// Numbered, so that none is like another.
    private static func datagram(_ number: Int, size: Int) -> [UInt8] {
        (0..<size).map { UInt8(truncatingIfNeeded: number &* 31 &+ $0) }
    }

    // U2
    @Test(arguments: testedBackends.map(\.name), [false, true])
    func `a burst to one peer is one message, and arrives as it was written`(
        name: String, connected: Bool
    ) throws {
        let world = try World(name, connected: connected)
        defer { world.reactor.shutDown() }
        let sizes = Array(repeating: 100, count: 30) + [40]
        let burst = sizes.enumerated().map { Self.datagram($0, size: $1) }
        torsion_fail_segments(0, 0)
        world.send(burst.map { ($0, 0) })
        #expect(torsion_segmented_messages() == 1)
        #expect(world.boxes[0].received == burst)
        #expect(world.sender.statistics.sent == 31 && world.senders.failures.isEmpty)
    }

    // U2
    @Test(arguments: testedBackends.map(\.name), [11, 12, 13])
    func `any sizes to any peers arrive whole and in each one's order`(
        name: String, seed: UInt64
    ) throws {
        let world = try World(name, receivers: 3)
        defer { world.reactor.shutDown() }
        var random = SeededDice(seed: seed)
        var expected: [[[UInt8]]] = [[], [], []]
        for _ in 0..<20 {
            var burst: [(bytes: [UInt8], to: Int)] = []
            while burst.count < 60 {
                let peer = Int.random(in: 0..<3, using: &random)
                let size = [0, 1, 63, 64, 512, 1_200].randomElement(using: &random)!
                for _ in 0..<Int.random(in: 1...9, using: &random) {
                    burst.append((Self.datagram(burst.count, size: size), peer))
                }
            }
            for datagram in burst { expected[datagram.to].append(datagram.bytes) }
            world.send(burst)
        }
        #expect(world.boxes.map(\.received) == expected)
        #expect(world.senders.failures.isEmpty)
    }

    // U2
    @Test(arguments: testedBackends.map(\.name), [EIO, EINVAL, EMSGSIZE])
    func `a path that takes no segments gets datagrams, and is not asked again`(
        name: String, number: Int32
    ) throws {
        let world = try World(name)
        defer { world.reactor.shutDown() }
        let burst = (0..<20).map { Self.datagram($0, size: 100) }
        torsion_fail_segments(number, 0)
        defer { torsion_fail_segments(0, 0) }
        world.send(burst.map { ($0, 0) })
        #expect(torsion_segmented_messages() == 1)
        world.send(burst.map { ($0, 0) })
        #expect(torsion_segmented_messages() == 1)
        #expect(world.boxes[0].received == burst + burst)
        #expect(world.sender.statistics.sent == 40 && world.senders.failures.isEmpty)
    }

    // U2
    @Test(arguments: testedBackends.map(\.name))
    func `a path that takes short segments keeps them, behind longer ones that it does not`(
        name: String
    ) throws {
        let world = try World(name)
        defer { world.reactor.shutDown() }
        let burst = (0..<20).map { Self.datagram($0, size: $0 < 10 ? 100 : 1_400) }
        torsion_fail_segments(EINVAL, 1_000)
        defer { torsion_fail_segments(0, 0) }
        for _ in 0..<3 { world.send(burst.map { ($0, 0) }) }
        #expect(world.boxes[0].received == burst + burst + burst)
        // The short ones thrice, the long ones when they are met second, and when they come first.
        #expect(torsion_segmented_messages() == 5)
        #expect(world.senders.failures.isEmpty)
    }

    // U2
    @Test(arguments: testedBackends.map(\.name))
    func `each datagram of a burst meets its own error`(name: String) throws {
        let world = try World(name)
        defer { world.reactor.shutDown() }
        // From the loopback interface's address nothing goes out into the world.
        let elsewhere = SocketAddress.ipv4(IPv4Address(192, 0, 2, 1), port: 9)
        world.reactor.performEvent {
            for number in 0..<5 {
                try? world.sender.write(Self.datagram(number, size: 64), to: elsewhere)
            }
        }
        world.send([([1], 0)])
        let end = world.reactor.now.advanced(by: .seconds(20))
        while world.senders.failures.count < 5, world.reactor.now < end {
            world.reactor.turn(until: end)
        }
        #expect(world.senders.failures.count == 5)
        #expect(world.senders.failures.allSatisfy { "\($0)".contains("192.0.2.1:9") })
        #expect(world.sender.statistics.unsent == 5 && world.boxes[0].received == [[1]])
        // The errors were the peer's, not those of segments.
        torsion_fail_segments(0, 0)
        world.send((0..<5).map { (Self.datagram($0, size: 64), 0) })
        #expect(torsion_segmented_messages() == 1)
    }
}
