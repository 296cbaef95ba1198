// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

import Glibc
import Testing
import Torsion

/// Sockets for datagrams that somebody else made, as endpoints.
@Suite struct AdoptedDatagramTests {
    /// Notes what arrives, and answers if it is asked to.
    private final class Box: DatagramProtocol {
        private(set) var texts: [String] = []
        private(set) var refusals = 0
        private let answers: Bool

        init(answers: Bool = false) { self.answers = answers }

        func datagramReceived(
            _ bytes: RawSpan, from address: SocketAddress, on transport: any DatagramTransport
        ) throws {
            texts.append(String(decoding: bytes))
            if answers { try transport.write("re: " + texts.last!, to: address) }
        }

        func connectionRefused(on transport: any DatagramTransport) { refusals += 1 }
    }

    private static func makeSocket(_ family: Int32, _ kind: __socket_type) -> Int32 {
        let descriptor = socket(family, Int32(kind.rawValue), 0)
        precondition(descriptor >= 0, "socket: errno \(errno)")
        return descriptor
    }

    /// A blocking UDP socket on a port of the loopback interface.
    private static func bound() -> (descriptor: Int32, address: SocketAddress) {
        let descriptor = makeSocket(AF_INET, SOCK_DGRAM)
        var address = loopback(port: 0)
        var size = socklen_t(MemoryLayout<sockaddr_in>.size)
        withUnsafeMutablePointer(to: &address) { pointer in
            pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                precondition(bind(descriptor, $0, size) == 0, "bind: errno \(errno)")
                precondition(getsockname(descriptor, $0, &size) == 0, "errno \(errno)")
            }
        }
        return (descriptor, .ipv4(.loopback, port: UInt16(bigEndian: address.sin_port)))
    }

    private static func connect(_ descriptor: Int32, to peer: SocketAddress) {
        let address = loopback(port: peer.port!)
        withUnsafePointer(to: address) { pointer in
            pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                let size = socklen_t(MemoryLayout<sockaddr_in>.size)
                precondition(Glibc.connect(descriptor, $0, size) == 0, "errno \(errno)")
            }
        }
    }

    private static func loopback(port: UInt16) -> sockaddr_in {
        var address = sockaddr_in()
        address.sin_family = sa_family_t(AF_INET)
        address.sin_addr.s_addr = UInt32(0x7f00_0001).bigEndian
        address.sin_port = port.bigEndian
        return address
    }

    // U1
    @Test(arguments: backendNames)
    func `a bound socket is served by any number of endpoints, and stays open`(name: String) throws
    {
        let (descriptor, address) = Self.bound()
        let reactor = try Reactor.turned(by: name)
        let endpoint = try DatagramEndpoint(parsing: "fd:\(descriptor):broadcast=yes")
        let client = Box()
        let clientPort = try DatagramEndpoint.udp(port: 0, interface: .loopback)
            .listen(on: reactor) { client }
        for round in 1...2 {
            let server = Box(answers: true)
            let port = try endpoint.listen(on: reactor) { server }
            #expect(port.localAddress == address && port.peerAddress == nil)
            // Far more than one call receives.
            for number in 0..<100 { try clientPort.write("\(number)", to: address) }
            #expect(reactor.turn { client.texts.count == round * 100 })
            #expect(server.texts == (0..<100).map { "\($0)" })
            port.stopListening()
            #expect(option(descriptor, SOL_SOCKET, SO_BROADCAST) == 1)
        }
        reactor.shutDown()
        #expect(reactor.statistics.openHandles == 0)
        close(descriptor)
    }

    // U2
    @Test(arguments: backendNames)
    func `a connected socket keeps its peer, and is told of refusals`(name: String) throws {
        let (descriptor, _) = Self.bound()
        let (other, peer) = Self.bound()
        Self.connect(descriptor, to: peer)
        let reactor = try Reactor.turned(by: name)
        let ours = Box(), theirs = Box(answers: true)
        let port = try DatagramEndpoint.adopted(descriptor: descriptor).listen(on: reactor) { ours }
        let peerPort = try DatagramEndpoint.adopted(descriptor: other).listen(on: reactor) {
            theirs
        }
        #expect(port.peerAddress == peer && peerPort.peerAddress == nil)
        try port.write("hello")
        #expect(reactor.turn { ours.texts == ["re: hello"] })
        peerPort.stopListening()
        close(other)
        try port.write("nobody")
        #expect(reactor.turn { ours.refusals == 1 })
        #expect(port.isListening)
        reactor.shutDown()
        close(descriptor)
    }

    @Test(arguments: backendNames)
    func `the two ends of a pair speak to each other`(name: String) throws {
        var ends: [Int32] = [0, 0]
        #expect(socketpair(AF_UNIX, Int32(SOCK_DGRAM.rawValue), 0, &ends) == 0)
        let reactor = try Reactor.turned(by: name)
        let first = Box(), second = Box(answers: true)
        let port = try DatagramEndpoint.adopted(descriptor: ends[0]).listen(on: reactor) { first }
        try DatagramEndpoint.adopted(descriptor: ends[1]).listen(on: reactor) { second }
        #expect(port.peerAddress == .unix(.unnamed))
        // More than the queue of a UNIX socket holds: the rest waits for room.
        for number in 0..<500 { try port.write("\(number)") }
        #expect(reactor.turn { first.texts.count == 500 })
        #expect(first.texts == (0..<500).map { "re: \($0)" })
        reactor.shutDown()
        for end in ends { close(end) }
    }

    @Test(arguments: backendNames)
    func `a socket that is not bound can be given a peer`(name: String) throws {
        let (other, peer) = Self.bound()
        let descriptor = Self.makeSocket(AF_INET, SOCK_DGRAM)
        let reactor = try Reactor.turned(by: name)
        let ours = Box(), theirs = Box(answers: true)
        try DatagramEndpoint.adopted(descriptor: other).listen(on: reactor) { theirs }
        let text = #"fd:\#(descriptor):peer=127.0.0.1\:\#(peer.port!)"#
        let port = try DatagramEndpoint(parsing: text).listen(on: reactor) { ours }
        #expect(port.peerAddress == peer)
        try port.write("hello")
        #expect(reactor.turn { ours.texts == ["re: hello"] })
        reactor.shutDown()
        for number in [other, descriptor] { close(number) }
    }

    @Test(arguments: backendNames)
    func `what is no socket for datagrams is refused by name`(name: String) throws {
        let reactor = try Reactor.turned(by: name)
        let stream = Self.makeSocket(AF_INET, SOCK_STREAM)
        let netlink = Self.makeSocket(AF_NETLINK, SOCK_DGRAM)
        let file = open("/dev/null", O_RDONLY)
        for (number, code) in [
            (stream, ErrorCode.wrongProtocolType), (netlink, .addressFamilyNotSupported),
            (file, .notSocket), (19_999, .badDescriptor),
        ] {
            #expect {
                try DatagramEndpoint.adopted(descriptor: number).listen(on: reactor) { Box() }
            } throws: { error in
                let error = error as? IOError
                return error?.code == code && error?.subject == "descriptor \(number)"
            }
        }
        for number in [stream, netlink, file] { close(number) }
        reactor.shutDown()
        #expect(reactor.statistics.openHandles == 0)
    }

    /// Only what systemd opened.
    private final class Inherited: ReactorServices {
        let inheritedDescriptors: [InheritedDescriptor]
        var resolver: any NameResolver { fatalError("nobody asks for names") }
        var signals: any SignalSource { fatalError("nobody asks for signals") }

        init(_ descriptors: [InheritedDescriptor]) { inheritedDescriptors = descriptors }

        func shutDown() {}
    }

    @Test(arguments: backendNames)
    func `a socket of systemd is found by its name and by its place`(name: String) throws {
        let (descriptor, address) = Self.bound()
        let list = [
            InheritedDescriptor(number: 19_998, name: "web"),
            InheritedDescriptor(number: descriptor, name: "log"),
        ]
        let reactor = Reactor(backend: try namedBackend(name)) { _ in Inherited(list) }
        for text in ["systemd:log", "systemd:index=1"] {
            let port = try DatagramEndpoint(parsing: text).listen(on: reactor) { Box() }
            #expect(port.localAddress == address)
            port.stopListening()
        }
        #expect {
            try DatagramEndpoint.systemd(name: "mail").listen(on: reactor) { Box() }
        } throws: { error in
            "\(error)" == "cannot open the systemd socket named mail: bad file descriptor (EBADF)"
        }
        reactor.shutDown()
        close(descriptor)
    }
}
