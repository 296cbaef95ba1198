// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

import Glibc
import Testing
import Torsion
import TorsionTesting

/// Notes what happens to it.
final class DatagramWitness: DatagramProtocol {
    private(set) var texts: [String] = []
    private(set) var errors: [String] = []

    func datagramReceived(
        _ bytes: RawSpan, from address: SocketAddress, on transport: any DatagramTransport
    ) {
        texts.append(String(decoding: bytes))
    }

    func connectionRefused(on transport: any DatagramTransport) { errors.append("refused") }

    func datagramFailed(_ error: IOError, on transport: any DatagramTransport) {
        errors.append(error.code.name)
    }
}

/// Answers of the network to a datagram, which the kernel gives to the next call: `udp(7)`.
@Suite struct PendingErrorTests {
    private static let mayForge: Bool = {
        let descriptor = socket(AF_INET, Int32(SOCK_RAW.rawValue), Int32(IPPROTO_ICMP))
        close(descriptor)
        return descriptor >= 0
    }()

    /// Sends what a router or firewall would, on a datagram from one port of this machine to
    /// another: "destination unreachable" with this code, RFC 792.
    private static func forgeAnswer(code: UInt8, from own: UInt16, to peer: UInt16) {
        var packet = [UInt8](repeating: 0, count: 8 + 20 + 8)
        packet[0] = 3
        packet[1] = code
        // The datagram that it is about: its IP header, and the beginning of its UDP header.
        packet[8] = 0x45
        packet[11] = 28
        packet[16] = 64
        packet[17] = UInt8(IPPROTO_UDP)
        for start in [20, 24] { packet.replaceSubrange(start..<(start + 4), with: [127, 0, 0, 1]) }
        packet.replaceSubrange(28..<30, with: [UInt8(own >> 8), UInt8(own & 0xff)])
        packet.replaceSubrange(30..<32, with: [UInt8(peer >> 8), UInt8(peer & 0xff)])
        packet[33] = 8
        var sum = stride(from: 0, to: packet.count, by: 2).reduce(UInt32(0)) {
            $0 + UInt32(packet[$1]) << 8 + UInt32(packet[$1 + 1])
        }
        while sum > 0xffff { sum = sum >> 16 + sum & 0xffff }
        packet[2] = UInt8(~sum >> 8 & 0xff)
        packet[3] = UInt8(~sum & 0xff)
        let descriptor = socket(AF_INET, Int32(SOCK_RAW.rawValue), Int32(IPPROTO_ICMP))
        defer { close(descriptor) }
        var address = sockaddr_in()
        address.sin_family = sa_family_t(AF_INET)
        address.sin_addr.s_addr = UInt32(0x7f00_0001).bigEndian
        let sent = withUnsafePointer(to: address) { pointer in
            pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                sendto(
                    descriptor, packet, packet.count, 0, $0,
                    socklen_t(MemoryLayout<sockaddr_in>.size))
            }
        }
        precondition(sent == packet.count, "sendto: errno \(errno)")
    }

    private struct Place {
        let reactor: Reactor
        let peer = DatagramWitness(), own = DatagramWitness()
        let peerPort: DatagramPort, port: DatagramPort

        init(_ backend: BackendChoice) throws {
            reactor = Reactor(backend: backend, services: nil)
            peerPort = try reactor.listenForDatagrams(on: .ipv4(.loopback, port: 0), peer)
            var options = DatagramOptions()
            options.peerAddress = peerPort.localAddress
            port = try reactor.listenForDatagrams(
                on: .ipv4(.loopback, port: 0), options: options, own)
        }
    }

    /// Code 13, "administratively prohibited", is a firewall's; 3 is the peer's machine's.
    @Test(
        .enabled(if: mayForge, "needs CAP_NET_RAW"), arguments: backendNames,
        [(13, "EHOSTUNREACH"), (10, "EHOSTUNREACH"), (9, "ENETUNREACH"), (3, "refused")]
            as [(UInt8, String)])
    func `an answer to an earlier datagram is told, and costs the next one nothing`(
        name: String, answer: (code: UInt8, name: String)
    ) throws {
        let place = try Place(try namedBackend(name))
        let texts = ["hello", String(repeating: "x", count: 20_000)]
        for (count, text) in texts.enumerated() {
            Self.forgeAnswer(
                code: answer.code, from: place.port.localAddress.port!,
                to: place.peerPort.localAddress.port!)
            try place.port.write(text)
            #expect(
                place.reactor.turn {
                    place.peer.texts.count > count && place.own.errors.count > count
                })
        }
        #expect(place.peer.texts == texts)
        #expect(place.own.errors == [answer.name, answer.name])
        #expect(place.port.statistics.sent == 2 && place.port.statistics.unsent == 0)
        for port in [place.port, place.peerPort] { port.stopListening() }
        place.reactor.shutDown()
    }

    /// Each answer that a network can give: `icmp_err_convert` and `icmpv6_err_convert` of the
    /// kernel.
    @Test(
        arguments: backendNames,
        [
            .networkUnreachable, .hostUnreachable, .connectionRefused, .hostDown, .accessDenied,
            .protocolError, .optionNotSupported, .messageTooLong, .other(ENONET),
        ] as [ErrorCode])
    func `whatever the answer is`(name: String, code: ErrorCode) throws {
        let plan = FaultPlan.failCalls(1...2, of: [.send], with: code)
        let place = try Place(.faulty(try namedBackend(name), plan))
        try place.port.write("hello")
        #expect(place.reactor.turn { !place.peer.texts.isEmpty && !place.own.errors.isEmpty })
        #expect(place.peer.texts == ["hello"])
        #expect(place.own.errors == [code == .connectionRefused ? "refused" : code.name])
        #expect(place.port.statistics.sent == 1 && place.port.statistics.unsent == 0)
        for port in [place.port, place.peerPort] { port.stopListening() }
        place.reactor.shutDown()
    }
}
