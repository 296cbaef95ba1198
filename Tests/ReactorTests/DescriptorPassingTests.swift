// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

import Glibc
import TestPrograms
import Testing
import Torsion
@_spi(Backend) import TorsionCore
import TorsionTesting

private struct Pipe {
    let input: Int32
    let output: Int32

    init() {
        var ends: [Int32] = [0, 0]
        precondition(pipe(&ends) == 0, "pipe: errno \(errno)")
        (output, input) = (ends[0], ends[1])
    }

    /// Reads what is there; empty at the end, which comes when nobody has the input any more.
    func read() -> String {
        var bytes = [UInt8](repeating: 0, count: 100)
        let count = Glibc.read(output, &bytes, bytes.count)
        return String(decoding: bytes[..<max(0, count)], as: UTF8.self)
    }
}

/// Writes into each pipe that it is given, and notes the order of everything.
private final class Taker: DescriptorReceiver {
    var events: [String] = []
    var descriptorCount = 0
    var transport: (any StreamTransport)?
    var kept: [Int32] = []
    var onDescriptors: (any StreamTransport) throws -> Void = { _ in }

    func connectionMade(_ transport: any StreamTransport) { self.transport = transport }

    func descriptorsReceived(
        _ descriptors: PassedDescriptors, from transport: any DescriptorTransport
    ) throws {
        events.append("\(descriptors.numbers.count) descriptors")
        descriptorCount += descriptors.numbers.count
        for number in descriptors.numbers {
            #expect(fcntl(number, F_GETFD) & FD_CLOEXEC != 0)
            _ = write(number, "hello", 5)
        }
        try onDescriptors(transport)
    }

    func dataReceived(_ bytes: RawSpan, from transport: any StreamTransport) {
        events.append(String(decoding: bytes))
    }

    func connectionLost(_ why: ConnectionLoss, from transport: any StreamTransport) {
        events.append("\(why)")
        self.transport = nil
    }
}

/// Two ends of a UNIX connection on one reactor.
private final class Pair {
    let reactor: Reactor
    let client = Witness()
    private(set) var passing: (any DescriptorTransport)!
    nonisolated(unsafe) private static var count = 0

    init(_ backend: BackendChoice, to server: any StreamProtocol) throws {
        reactor = Reactor(backend: backend, services: nil)
        Self.count += 1
        let name = Array("torsion-passing-\(getpid())-\(Self.count)-\(backend.name)".utf8)
        let address = SocketAddress.unix(.abstract(name))
        let port = try reactor.listen(on: address) { _ in server }
        ClientEndpoint.address(address).connect(on: reactor) { [client] in client }
            .whenFailed { Issue.record("\($0)") }
        let isConnected = reactor.turn { [client] in client.transport != nil }
        #expect(isConnected)
        port.stopListening()
        passing = client.transport as? any DescriptorTransport
    }

    func pass(_ text: String, _ descriptors: [Int32]) throws {
        try passing.write(text.utf8.span.bytes, passing: descriptors)
    }

    func finish() {
        client.transport?.abortConnection()
        let isEmpty = reactor.turn { [reactor] in reactor.statistics.openConnections == 0 }
        #expect(isEmpty)
        passing = nil
        #expect(reactor.statistics.openHandles == 0)
        reactor.shutDown()
    }
}

/// U1: passing descriptors over UNIX sockets.
@Suite(.serialized) struct DescriptorPassingTests {
    static let backends = testedBackends.flatMap {
        [$0, .faulty($0, .irregular(seed: 5))]
    }.map(Named.init)

    struct Named: CustomTestStringConvertible, Sendable {
        let choice: BackendChoice
        var testDescription: String { choice.name }
    }

    /// Lets another take over in the middle of what arrived together.
    private final class Handover: StreamProtocol {
        private let next: any StreamProtocol
        private var left: Int

        init(to next: any StreamProtocol, behind byteCount: Int) {
            self.next = next
            left = byteCount
        }

        func dataReceived(_ bytes: RawSpan, from transport: any StreamTransport) {
            left -= bytes.byteCount
            if left == 0 { transport.switchProtocol(to: next) }
        }
    }

    // U1
    @Test(arguments: backends)
    func `descriptors behind a full read reach who takes over in it`(backend: Named) throws {
        let taker = Taker()
        // As much as a read takes, so that it looks for more.
        let byteCount = 64 * 1024
        let pair = try Pair(backend.choice, to: Handover(to: taker, behind: byteCount))
        let pipe = Pipe()
        pair.passing.write([UInt8](repeating: 7, count: byteCount).span.bytes)
        try pair.pass("with it", [pipe.input])
        close(pipe.input)
        let isThere = pair.reactor.turn { taker.events.count >= 2 }
        #expect(isThere && taker.events == ["1 descriptors", "with it"])
        #expect(pipe.read() == "hello")
        close(pipe.output)
        pair.finish()
    }

    // U1
    @Test(arguments: backends)
    func `descriptors arrive in order, before the bytes that carried them`(
        backend: Named
    ) throws {
        let taker = Taker()
        let pair = try Pair(backend.choice, to: taker)
        let pipes = (0..<3).map { _ in Pipe() }
        pair.passing.write("first ")
        try pair.pass("one", [pipes[0].input])
        try pair.pass("two", [pipes[1].input, pipes[2].input])
        pair.passing.write(" last")
        // Ours are not needed any more: duplicates travel.
        for pipe in pipes { close(pipe.input) }
        #expect(pair.reactor.turn { taker.events.joined().hasSuffix("last") })
        let story = taker.events.joined(separator: "|")
        // One read may bring what was sent before, too: unix(7).
        let stories = [
            "first 1 descriptorsone2 descriptorstwo last",
            "1 descriptorsfirst one2 descriptorstwo last",
        ]
        #expect(stories.contains(taker.events.joined()), "\(story)")
        // Those that nobody took were closed: behind what was written comes the end.
        for pipe in pipes {
            #expect(pipe.read() == "hello" && pipe.read() == "")
            close(pipe.output)
        }
        pair.finish()
    }

    // U1
    @Test(arguments: backends)
    func `what nobody asks for is closed`(backend: Named) throws {
        let server = Witness()
        let pair = try Pair(backend.choice, to: server)
        let pipe = Pipe()
        try pair.pass("bytes", [pipe.input])
        close(pipe.input)
        #expect(pair.reactor.turn { server.text == "bytes" })
        #expect(pipe.read() == "")
        close(pipe.output)
        pair.finish()
    }

    // U1
    @Test(arguments: backends)
    func `what is queued for a peer that does not read is bounded, and closed with the connection`(
        backend: Named
    ) throws {
        let taker = Taker()
        let pair = try Pair(backend.choice, to: taker)
        #expect(pair.reactor.turn { taker.transport != nil })
        taker.transport?.pauseProducing()
        // The kernel takes some of it.
        pair.passing.write([UInt8](repeating: 0, count: 4 << 20))
        let pipe = Pipe()
        var passed = 0
        do {
            while passed < 2_000 {
                try pair.pass("x", [pipe.input])
                passed += 1
            }
        } catch let error as IOError {
            #expect(error.code == .tooManyReferences)
        }
        #expect(passed == 1_024)
        close(pipe.input)
        // A UNIX socket has no reset that would be noticed while it is not read.
        taker.transport?.abortConnection()
        pair.finish()
        #expect(pipe.read() == "")
        close(pipe.output)
    }

    // U1
    @Test(arguments: backends)
    func `everything queued arrives when the peer reads again`(backend: Named) throws {
        let taker = Taker()
        let pair = try Pair(backend.choice, to: taker)
        #expect(pair.reactor.turn { taker.transport != nil })
        taker.transport?.pauseProducing()
        let pipe = Pipe()
        pair.passing.write([UInt8](repeating: UInt8(ascii: "-"), count: 1 << 20))
        for number in 0..<100 { try pair.pass("\(number),", [pipe.input, pipe.input]) }
        taker.transport?.resumeProducing()
        #expect(pair.reactor.turn { taker.descriptorCount == 200 })
        #expect(pair.reactor.turn { taker.events.joined().hasSuffix("99,") })
        let story = taker.events.joined().filter { $0 != "-" }
        #expect(story == (0..<100).map { "2 descriptors\($0)," }.joined())
        close(pipe.input)
        close(pipe.output)
        pair.finish()
    }

    @Test(arguments: backends)
    func `a pause between descriptors and their bytes keeps the bytes`(backend: Named) throws {
        let taker = Taker()
        let pair = try Pair(backend.choice, to: taker)
        taker.onDescriptors = { $0.pauseProducing() }
        let pipe = Pipe()
        try pair.pass("bytes", [pipe.input])
        #expect(pair.reactor.turn { taker.events == ["1 descriptors"] })
        for _ in 0..<3 { pair.reactor.turn(until: pair.reactor.now) }
        #expect(taker.events == ["1 descriptors"])
        taker.transport?.resumeProducing()
        #expect(pair.reactor.turn { taker.events == ["1 descriptors", "bytes"] })
        close(pipe.input)
        close(pipe.output)
        pair.finish()
    }

    @Test(arguments: backendNames)
    func `a descriptor that was taken is its taker's`(name: String) throws {
        final class Keeper: DescriptorReceiver {
            var kept: Int32?
            func descriptorsReceived(
                _ descriptors: PassedDescriptors, from transport: any DescriptorTransport
            ) { kept = descriptors.take() }
            func dataReceived(_ bytes: RawSpan, from transport: any StreamTransport) {}
        }
        let keeper = Keeper()
        let pair = try Pair(try namedBackend(name), to: keeper)
        let pipe = Pipe()
        try pair.pass("x", [pipe.input])
        #expect(pair.reactor.turn { keeper.kept != nil })
        let kept = try #require(keeper.kept)
        let file = OpenFile(kept)
        pair.finish()
        #expect(file.isOpen)
        for number in [kept, pipe.input, pipe.output] { close(number) }
    }

    @Test(arguments: backendNames)
    func `over TCP, and of what is not open, nothing is passed`(name: String) throws {
        let reactor = try Reactor.turned(by: name)
        let client = Witness()
        let port = try reactor.listen(on: .ipv4(.loopback, port: 0)) { _ in Witness() }
        ClientEndpoint.address(port.localAddress).connect(on: reactor) { client }
            .whenFailed { Issue.record("\($0)") }
        #expect(reactor.turn { client.transport != nil })
        let transport = try #require(client.transport as? any DescriptorTransport)
        #expect(!transport.passesDescriptors)
        #expect(throws: IOError.self) { try transport.write("x".utf8.span.bytes, passing: [0]) }
        reactor.shutDown()
        let pair = try Pair(try namedBackend(name), to: Witness())
        #expect(pair.passing.passesDescriptors)
        #expect(throws: IOError.self) { try pair.pass("x", [19_999]) }
        pair.finish()
    }
}

/// Sockets that somebody else made, as endpoints.
@Suite struct AdoptedSocketTests {
    private func listening() throws -> (descriptor: Int32, port: UInt16) {
        let descriptor = socket(AF_INET, Int32(SOCK_STREAM.rawValue), 0)
        var address = sockaddr_in()
        address.sin_family = sa_family_t(AF_INET)
        address.sin_addr.s_addr = UInt32(0x7f00_0001).bigEndian
        var size = socklen_t(MemoryLayout<sockaddr_in>.size)
        withUnsafeMutablePointer(to: &address) { pointer in
            pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                precondition(bind(descriptor, $0, size) == 0 && listen(descriptor, 5) == 0)
                precondition(getsockname(descriptor, $0, &size) == 0)
            }
        }
        return (descriptor, UInt16(bigEndian: address.sin_port))
    }

    @Test(arguments: backendNames)
    func `a socket that listens is served by any number of endpoints`(name: String) throws {
        let (descriptor, port) = try listening()
        let reactor = try Reactor.turned(by: name)
        let server = Witness(), client = Witness()
        let endpoint = try ServerEndpoint(parsing: "fd:\(descriptor)")
        let socket = OpenFile(descriptor)
        let first = try endpoint.listen(on: reactor) { server }
        #expect(first.localAddress == .ipv4(.loopback, port: port))
        ClientEndpoint.tcp(host: "127.0.0.1", port: port).connect(on: reactor) { client }
            .whenFailed { Issue.record("\($0)") }
        #expect(reactor.turn { server.transport != nil && client.transport != nil })
        client.transport?.write("hello")
        #expect(reactor.turn { server.text == "hello" })
        // Closing the port closes a duplicate: the socket still listens.
        first.stopListening()
        let second = try endpoint.listen(on: reactor) { Witness() }
        #expect(second.isListening && socket.isOpen)
        reactor.shutDown()
        close(descriptor)
    }

    @Test(arguments: backendNames)
    func `connected sockets are served, and spoken to`(name: String) throws {
        var ends: [Int32] = [0, 0]
        #expect(socketpair(AF_UNIX, Int32(SOCK_STREAM.rawValue), 0, &ends) == 0)
        let reactor = try Reactor.turned(by: name)
        let files = ends.map { OpenFile($0) }
        let server = Witness(), client = Witness()
        try ServerEndpoint.adopted(descriptor: ends[0]).listen(on: reactor) { server }
        ClientEndpoint.adopted(descriptor: ends[1]).connect(on: reactor) { client }
            .whenFailed { Issue.record("\($0)") }
        #expect(reactor.turn { server.transport != nil && client.transport != nil })
        client.transport?.write("hello")
        server.transport?.write("and back")
        #expect(reactor.turn { server.text == "hello" && client.text == "and back" })
        client.transport?.loseConnection()
        #expect(reactor.turn { server.loss == .closedByPeer && client.loss == .closedLocally })
        #expect(files.allSatisfy { $0.isOpen })
        reactor.shutDown()
        for end in ends { close(end) }
    }

    @Test(arguments: backendNames)
    func `a socket that is no connected stream is refused by name`(name: String) throws {
        let reactor = try Reactor.turned(by: name)
        let datagrams = socket(AF_INET, Int32(SOCK_DGRAM.rawValue), 0)
        let unconnected = socket(AF_INET, Int32(SOCK_STREAM.rawValue), 0)
        for (number, code) in [
            (datagrams, ErrorCode.wrongProtocolType), (unconnected, .notConnected),
            (19_999, .badDescriptor),
        ] {
            do {
                try ServerEndpoint.adopted(descriptor: number).listen(on: reactor) { Witness() }
                Issue.record("\(number) was adopted")
            } catch let error {
                #expect(error.code == code && error.subject == "descriptor \(number)")
            }
        }
        for number in [datagrams, unconnected] { close(number) }
        reactor.shutDown()
        #expect(reactor.statistics.openHandles == 0)
    }
}
