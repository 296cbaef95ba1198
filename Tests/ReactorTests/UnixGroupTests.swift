// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

import TestPrograms
import Testing
import Torsion

/// The reactors of a group at one UNIX address, which has room for one socket.
@Suite struct UnixGroupTests {
    private let folder = TemporaryFolder()

    /// Names the reactor that serves.
    private final class Naming: LineProtocol {
        let lines = LineDecoder()
        let served: PortNumbers
        init(_ served: PortNumbers) { self.served = served }

        func lineReceived(_ line: RawSpan, from transport: any StreamTransport) {
            served.add(transport.reactor.number)
            transport.write("served\n")
            transport.loseConnection()
        }
    }

    /// Opens a further port when it is told that the first has started.
    private final class TwoPorts: StreamProtocolFactory {
        let ports: PortList
        let second: String
        init(_ ports: PortList, _ second: String) {
            self.ports = ports
            self.second = second
        }

        func makeProtocol(for peer: SocketAddress) -> (any StreamProtocol)? { nil }

        func started(on port: ListeningPort) {
            ports.add(port.localAddress)
            do {
                let other = try ServerEndpoint.unix(path: second).listen(on: port.reactor) { nil }
                ports.add(other.localAddress)
            } catch { Issue.record("\(error)") }
        }
    }

    @Test(arguments: backendNames, [false, true])
    func `all serve the clients of one path`(name: String, isAbstract: Bool) throws {
        let file = folder.file("socket")
        let path = isAbstract ? "@torsion-group-\(name)\(file)" : file
        let (ports, served) = (PortList(), PortNumbers())
        let endpoint = try ServerEndpoint(parsing: "unix:\(path)")
        let choice = try BackendChoice.named(name, among: testedBackends)
        try ReactorGroup.run(count: 3, backend: choice, signals: .ignore) { reactor in
            let port = try endpoint.listen(on: reactor) { Naming(served) }
            guard ports.add(port.localAddress) == 3 else { return }
            // Which of them serves a client, chance decides.
            Self.ask(port.localAddress, on: reactor)
        }
        #expect(ports.count == 3 && Set(ports.all).count == 1)
        #expect((1...3).contains(served.all.count))
        // The file has gone with the port that made it.
        #expect(throws: Never.self) {
            let reactor = try Reactor.turned(by: name)
            try endpoint.listen(on: reactor) { nil }
            reactor.shutDown()
        }
    }

    private static func ask(_ address: SocketAddress, on reactor: Reactor) {
        reactor.spawn {
            for _ in 0..<50 {
                let connection = try await ClientEndpoint.address(address)
                    .connect(on: reactor).value
                try await connection.write("?\n")
                let answer = try await connection.readToEnd(limitBytes: 10)
                #expect(answer == "served\n")
            }
            reactor.stop(within: .zero)
        }.whenFailed { error in
            Issue.record("\(error)")
            reactor.stop(within: .zero)
        }
    }

    @Test func `a factory may open a port when it is told of its first`() throws {
        let ports = PortList()
        let (first, second) = (folder.file("first"), folder.file("second"))
        try ReactorGroup.run(count: 3, backend: .epoll, signals: .ignore) { reactor in
            try ServerEndpoint.unix(path: first)
                .listen(on: reactor, factory: TwoPorts(ports, second))
            if ports.count == 6 { reactor.stop(within: .zero) }
        }
        #expect(ports.count == 6 && Set(ports.all).count == 2)
    }

    @Test(arguments: backendNames)
    func `all receive the datagrams of one path`(name: String) throws {
        let path = folder.file("datagrams")
        let ports = PortList()
        let choice = try BackendChoice.named(name, among: testedBackends)
        try ReactorGroup.run(count: 3, backend: choice, signals: .ignore) { reactor in
            let port = try DatagramEndpoint.unix(path: path).listen(on: reactor) { Dropping() }
            if ports.add(port.localAddress) == 3 { reactor.stop(within: .zero) }
        }
        #expect(ports.all == Array(repeating: .unix(.path(path)), count: 3))
    }

    private final class Dropping: DatagramProtocol {
        func datagramReceived(
            _ bytes: RawSpan, from address: SocketAddress, on transport: any DatagramTransport
        ) {}
    }
}

/// Numbers that several threads note.
private final class PortNumbers: Sendable {
    private let numbers = Lock<Set<UInt32>>([])

    var all: Set<UInt32> { numbers.withLock { $0 } }

    func add(_ number: UInt32) { numbers.withLock { _ = $0.insert(number) } }
}
