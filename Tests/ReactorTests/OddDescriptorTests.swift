// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

import Glibc
import TestPrograms
import TestedBackends
import Testing
import Torsion
import TorsionProtocols

/// Uses of descriptors that nobody planned for.
@Suite struct OddDescriptorTests {
    private static func makePipe() -> (input: Int32, output: Int32) {
        var ends: [Int32] = [0, 0]
        precondition(pipe(&ends) == 0)
        return (ends[0], ends[1])
    }

    private static func serve(_ endpoint: ServerEndpoint, on reactor: Reactor) throws -> Witness {
        let peer = Witness()
        try endpoint.listen(on: reactor) { peer }
        #expect(reactor.turn { peer.transport != nil || peer.loss != nil })
        return peer
    }

    /// In a process of its own: here the number that was closed may lead to what another test opened.
    @Test(arguments: backendNames)
    func `a pair is used once, and the second use says what is missing`(name: String) async {
        await #expect(processExitsWith: .success) { [name] in
            try synchronously { try Self.useTwice(name) }
        }
    }

    private static func useTwice(_ name: String) throws {
        let reactor = try Reactor.turned(by: name)
        let ends = makePipe()
        let endpoint = ServerEndpoint.open(input: ends.input, output: nil)
        let peer = try serve(endpoint, on: reactor)
        close(ends.output)
        precondition(reactor.turn { peer.loss == .closedByPeer })
        do throws(IOError) {
            try endpoint.listen(on: reactor) { Witness() }
            fatalError("the pair was used twice")
        } catch {
            precondition(error.code == .badDescriptor, "\(error)")
        }
        reactor.shutDown()
    }

    @Test(arguments: backendNames)
    func `one socket may be both sides of a pair`(name: String) throws {
        let reactor = try Reactor.turned(by: name)
        var ends: [Int32] = [0, 0]
        #expect(socketpair(AF_UNIX, Int32(SOCK_STREAM.rawValue), 0, &ends) == 0)
        let ours = OpenFile(ends[0])
        let peer = try Self.serve(.open(input: ends[0], output: ends[0]), on: reactor)
        #expect(write(ends[1], "ping", 4) == 4)
        #expect(reactor.turn { peer.text == "ping" })
        peer.transport?.write("pong")
        peer.transport?.loseConnection()
        var bytes = [UInt8](repeating: 0, count: 8)
        #expect(reactor.turn { peer.loss == .closedLocally })
        #expect(read(ends[1], &bytes, 8) == 4 && read(ends[1], &bytes, 8) == 0)
        #expect(!ours.isOpen)
        close(ends[1])
        reactor.shutDown()
    }

    @Test(arguments: backendNames)
    func `an input without end starves nobody, and its speed is the reader's`(
        name: String
    ) throws {
        let reactor = try Reactor.turned(by: name)
        let zero = open("/dev/zero", O_RDONLY | O_CLOEXEC)
        let source = CountingPeer()
        try ServerEndpoint.adopted(descriptor: zero).listen(on: reactor) { source }
        var isDue = false
        reactor.callLater(.milliseconds(5)) { isDue = true }
        #expect(reactor.turn { isDue && source.count > 1_000_000 })
        source.transport?.pauseProducing()
        let before = source.count
        var turns = 0
        #expect(
            reactor.turn {
                turns += 1
                if turns < 10 { reactor.callLater(.zero) {} }
                return turns > 9
            })
        #expect(source.count == before)
        source.transport?.abortConnection()
        #expect(reactor.turn { source.isLost })
        close(zero)
        reactor.shutDown()
    }

    @Test(arguments: backendNames)
    func `a pipe that nobody reads is given up when the deadline has passed`(name: String) throws {
        let reactor = try Reactor.turned(by: name)
        let ends = Self.makePipe()
        let output = OpenFile(ends.output)
        var options = StreamOptions()
        options.closeTimeout = .milliseconds(40)
        let peer = try Self.serve(
            .open(input: nil, output: ends.output, options: options), on: reactor)
        peer.transport?.write(String(repeating: "x", count: 1_000_000))
        peer.transport?.loseConnection()
        #expect(reactor.turn { peer.loss != nil })
        #expect(peer.loss == .deadlinePassed(.closing))
        #expect(!output.isOpen)
        close(ends.input)
        reactor.shutDown()
    }

    @Test(arguments: backendNames)
    func `a FIFO that is its own peer talks to itself, and is closed`(name: String) throws {
        let reactor = try Reactor.turned(by: name)
        let folder = TemporaryFolder()
        #expect(mkfifo(folder.file("fifo"), 0o600) == 0)
        let both = open(folder.file("fifo"), O_RDWR | O_NONBLOCK | O_CLOEXEC)
        let peer = try Self.serve(.adopted(descriptor: both), on: reactor)
        peer.transport?.write("me")
        #expect(reactor.turn { peer.text == "me" })
        peer.transport?.loseConnection()
        #expect(reactor.turn { peer.loss == .closedLocally })
        close(both)
        reactor.shutDown()
    }

    @Test(arguments: backendNames)
    func `what its owner has closed goes on, since the endpoint has its own`(name: String) throws {
        let reactor = try Reactor.turned(by: name)
        let ends = Self.makePipe()
        let peer = try Self.serve(.adopted(descriptor: ends.input), on: reactor)
        close(ends.input)
        #expect(write(ends.output, "still", 5) == 5)
        #expect(reactor.turn { peer.text == "still" })
        close(ends.output)
        #expect(reactor.turn { peer.loss == .closedByPeer })
        reactor.shutDown()
    }

    @Test(arguments: backendNames)
    func `one pipe with two readers loses no byte`(name: String) throws {
        let reactor = try Reactor.turned(by: name)
        let ends = Self.makePipe()
        let peers = [
            try Self.serve(.adopted(descriptor: ends.input), on: reactor),
            try Self.serve(.adopted(descriptor: ends.input), on: reactor),
        ]
        for _ in 0..<100 {
            #expect(write(ends.output, "0123456789", 10) == 10)
            reactor.turn(until: reactor.now)
        }
        close(ends.output)
        #expect(reactor.turn { peers.allSatisfy { $0.loss == .closedByPeer } })
        #expect(peers.reduce(0) { $0 + $1.text.utf8.count } == 1_000)
        close(ends.input)
        reactor.shutDown()
    }

    @Test(arguments: backendNames)
    func `the outgoing direction ends, and with it a stream of one direction`(
        name: String
    ) throws {
        let reactor = try Reactor.turned(by: name)
        let ends = Self.makePipe()
        let peer = try Self.serve(.open(input: nil, output: ends.output), on: reactor)
        peer.transport?.write("last")
        peer.transport?.loseWriteConnection()
        #expect(reactor.turn { peer.loss != nil })
        var bytes = [UInt8](repeating: 0, count: 8)
        #expect(read(ends.input, &bytes, 8) == 4 && read(ends.input, &bytes, 8) == 0)
        close(ends.input)
        reactor.shutDown()
    }

    @Test(arguments: backendNames)
    func `a datagram socket and a port are no connection`(name: String) throws {
        let reactor = try Reactor.turned(by: name)
        try reactor.start()
        let datagrams = socket(AF_INET, Int32(SOCK_DGRAM.rawValue), 0)
        let port = socket(AF_INET, Int32(SOCK_STREAM.rawValue), 0)
        #expect(listen(port, 1) == 0)
        for (number, code) in [(datagrams, ErrorCode.wrongProtocolType), (port, .notConnected)] {
            var failure: IOError?
            ClientEndpoint.adopted(descriptor: number).connect(on: reactor) { Witness() }
                .whenFailed { failure = $0 as? IOError }
            #expect(reactor.turn { failure != nil })
            #expect(failure?.code == code, "\(String(describing: failure))")
            close(number)
        }
        #expect(reactor.statistics.openHandles == 0)
        reactor.shutDown()
    }

    @Test(arguments: backendNames)
    func `filters stand over pipes as over sockets`(name: String) throws {
        let reactor = try Reactor.turned(by: name)
        let there = Self.makePipe(), back = Self.makePipe()
        let server = Witness(), client = Witness()
        let rate = ThrottleRate(bytesPerSecond: 10_000_000)
        try ServerEndpoint.open(input: there.input, output: back.output)
            .filtered { Throttle(writing: rate) }.listen(on: reactor) { server }
        ClientEndpoint.open(input: back.input, output: there.output)
            .filtered { Throttle(writing: rate) }.connect(on: reactor) { client }
            .whenFailed { error in Issue.record(error) }
        #expect(reactor.turn { client.transport != nil && server.transport != nil })
        client.transport?.write(String(repeating: "a", count: 100_000))
        server.transport?.write("b")
        #expect(reactor.turn { server.text.utf8.count == 100_000 && client.text == "b" })
        client.transport?.loseConnection()
        #expect(reactor.turn { server.loss != nil && client.loss != nil })
        reactor.shutDown()
    }
}

/// Counts what arrives.
private final class CountingPeer: StreamProtocol {
    private(set) var count = 0
    private(set) var isLost = false
    private(set) var transport: (any StreamTransport)?

    func connectionMade(_ transport: any StreamTransport) { self.transport = transport }
    func dataReceived(_ bytes: RawSpan, from transport: any StreamTransport) {
        count += bytes.byteCount
    }
    func connectionLost(_ why: ConnectionLoss, from transport: any StreamTransport) {
        isLost = true
        self.transport = nil
    }
}
