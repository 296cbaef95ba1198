// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

import Testing
import TorsionTesting

@_spi(Backend) @testable import TorsionCore

@Suite struct DatagramPortTests {
    private static let peer = SocketAddress.ipv4(.loopback, port: 7)
    private static let other = SocketAddress.ipv4(.loopback, port: 8)

    private final class Box: DatagramProtocol {
        var told: [String] = []
        var onReceived: (String, SocketAddress, any DatagramTransport) throws -> Void = { _, _, _ in
        }
        var onFailed: (any DatagramTransport) throws -> Void = { _ in }

        func transportStarted(_ transport: any DatagramTransport) { told.append("started") }

        func datagramReceived(
            _ bytes: RawSpan, from address: SocketAddress, on transport: any DatagramTransport
        ) throws {
            let text = String(decoding: bytes)
            told.append(text)
            try onReceived(text, address, transport)
        }

        func connectionRefused(on transport: any DatagramTransport) { told.append("refused") }

        func datagramFailed(_ error: IOError, on transport: any DatagramTransport) throws {
            told.append(error.code.name)
            try onFailed(transport)
        }

        func transportStopped(_ transport: any DatagramTransport) { told.append("stopped") }
    }

    @Test func `answers leave when all that arrived together was handled`() {
        let box = Box()
        let port = MemoryDatagramTransport(box)
        var sentEarly = 0
        box.onReceived = { [unowned port] text, sender, transport in
            try transport.write(text + "!", to: sender)
            sentEarly += port.takeDatagrams().count
        }
        port.receive([Datagram("a", Self.peer), Datagram("b", Self.other), Datagram("", Self.peer)])
        #expect(sentEarly == 0)
        #expect(
            port.takeDatagrams()
                == [
                    Datagram("a!", Self.peer), Datagram("b!", Self.other), Datagram("!", Self.peer),
                ])
        #expect(port.transport.statistics.received == 3)
        #expect(port.transport.statistics.sent == 3)
    }

    @Test func `an error in the middle costs the others of the batch nothing`() {
        let box = Box()
        let port = MemoryDatagramTransport(box)
        var reports = 0
        port.clock.reactor.unhandledError = { _ in reports += 1 }
        struct Bad: Error {}
        box.onReceived = { text, _, _ in if text == "b" { throw Bad() } }
        port.receive(["a", "b", "c"].map { Datagram($0, Self.peer) })
        #expect(box.told == ["started", "a", "b", "c"])
        #expect(reports == 1 && port.isOpen)
    }

    @Test func `a default protocol hands failures to unhandledError`() throws {
        final class Deaf: DatagramProtocol {
            func datagramReceived(
                _ bytes: RawSpan, from address: SocketAddress, on transport: any DatagramTransport
            ) {}
        }
        let port = MemoryDatagramTransport(Deaf(), room: 0)
        var reports: [String] = []
        port.clock.reactor.unhandledError = { reports.append("\($0.error)") }
        try port.transport.write([UInt8](repeating: 0, count: 65_508), to: Self.peer)
        port.drain()
        port.clock.turn()
        #expect(reports == ["cannot write to 127.0.0.1:7: message too long (EMSGSIZE)"])
        #expect(port.transport.statistics.unsent == 1)
    }

    @Test func `one that is too long is thrown at its writer, and those before it leave`() throws {
        let port = MemoryDatagramTransport(Box())
        try port.transport.write("before", to: Self.peer)
        #expect(throws: IOError.self) {
            try port.transport.write([UInt8](repeating: 0, count: 65_508), to: Self.peer)
        }
        try port.transport.write("after", to: Self.peer)
        #expect(port.takeDatagrams().map(\.bytes) == ["before", "after"].map { Bytes($0) })
    }

    @Test func `what finds no room waits in order, and too much is thrown`() throws {
        var options = DatagramOptions()
        options.queueLimitBytes = 64 * 3
        let port = MemoryDatagramTransport(Box(), room: 1, options: options)
        for text in ["a", "b", "c", "d"] { try port.transport.write(text, to: Self.peer) }
        #expect(port.transport.statistics.pending == 3)
        #expect {
            try port.transport.write("e", to: Self.peer)
        } throws: { error in
            (error as? IOError)?.code == .noBufferSpace
        }
        port.drain(2)
        #expect(port.takeDatagrams().map(\.bytes) == ["a", "b", "c"].map { Bytes($0) })
        port.drain()
        #expect(port.takeDatagrams().map(\.bytes) == [Bytes("d")])
    }

    /// A kernel that has no route to anybody.
    private final class Island: BackendDatagramPort {
        var localAddress: SocketAddress { DatagramPortTests.other }
        var peerAddress: SocketAddress? { nil }
        func deliver(to receiver: any DatagramReceiver) {}
        func connect(to peer: SocketAddress) {}
        func startReceiving() {}
        func stopReceiving() {}
        func trySend(_ datagrams: UnsafeBufferPointer<BorrowedDatagram>) -> DatagramSendResult {
            .failed(.networkUnreachable)
        }
        func awaitRoom() {}
        func join(_ group: MulticastGroup) {}
        func leave(_ group: MulticastGroup) {}
        func close() {}
    }

    /// A connected port, whose kernel answers by these errors, then takes what it is given.
    private final class Scripted: BackendDatagramPort {
        var answers: [ErrorCode]
        let peer: SocketAddress

        init(_ answers: [ErrorCode], peer: SocketAddress) {
            self.answers = answers
            self.peer = peer
        }

        var localAddress: SocketAddress { DatagramPortTests.other }
        var peerAddress: SocketAddress? { peer }
        func deliver(to receiver: any DatagramReceiver) {}
        func connect(to peer: SocketAddress) {}
        func startReceiving() {}
        func stopReceiving() {}
        func trySend(_ datagrams: UnsafeBufferPointer<BorrowedDatagram>) -> DatagramSendResult {
            answers.isEmpty ? .sent(datagrams.count) : .failed(answers.removeFirst())
        }
        func awaitRoom() {}
        func join(_ group: MulticastGroup) {}
        func leave(_ group: MulticastGroup) {}
        func close() {}
    }

    struct Script: CustomStringConvertible, Sendable {
        let answers: [ErrorCode]
        let told: [String]
        let sent: UInt64
        var peer = DatagramPortTests.peer
        var description: String { "\(answers)" }
    }

    /// The kernel gives an answer to an earlier datagram to the next call, which sends nothing.
    ///
    /// A datagram that fails again and again fails by itself, and is told once.
    @Test(arguments: [
        Script(answers: [.hostUnreachable], told: ["EHOSTUNREACH"], sent: 1),
        Script(
            answers: [.hostUnreachable, .connectionRefused], told: ["EHOSTUNREACH", "refused"],
            sent: 1),
        Script(
            answers: Array(repeating: .networkUnreachable, count: 4), told: ["ENETUNREACH"],
            sent: 0),
        Script(
            answers: [.connectionRefused] + Array(repeating: .messageTooLong, count: 3),
            told: ["refused", "EMSGSIZE"], sent: 0),
        Script(
            answers: [.connectionRefused], told: ["refused"], sent: 0,
            peer: .unix(.path("/nobody"))),
    ])
    func `an answer to an earlier datagram is told, and the datagram tried again`(
        script: Script
    ) throws {
        for byteCount in [5, 20_000] {
            let box = Box(), clock = ManualClock()
            let kernel = Scripted(script.answers, peer: script.peer)
            let port = clock.reactor.adopt(kernel, box)
            var thrown: [String] = []
            do { try port.write([UInt8](repeating: 1, count: byteCount), to: script.peer) } catch {
                thrown = [error.code == .connectionRefused ? "refused" : error.code.name]
            }
            clock.turn()
            #expect(Array(box.told.dropFirst()) + thrown == script.told)
            #expect(thrown.count == (byteCount > 5 && script.sent == 0 ? 1 : 0))
            #expect(port.statistics.sent == script.sent)
            #expect(port.statistics.unsent == 1 - script.sent)
            port.stopListening()
            clock.turn()
        }
    }

    @Test func `failures that are answered by writes that fail do not hold up the reactor`() throws
    {
        let box = Box(), clock = ManualClock()
        box.onFailed = { try $0.write("again", to: Self.peer) }
        let port = clock.reactor.adopt(Island(), box)
        try port.write("hello", to: Self.peer)
        #expect(box.told == ["started"])
        for turn in 1...5 {
            clock.turn()
            #expect(box.told.count == 1 + turn)
        }
        port.stopListening()
        clock.turn()
        #expect(box.told.last == "stopped")
        #expect(port.statistics.unsent == 6)
        #expect(clock.reactor.statistics.delayedCalls == 0)
    }

    @Test func `a refusal is told to a connected port only`() throws {
        let box = Box()
        let port = MemoryDatagramTransport(box)
        try port.transport.connect(to: Self.peer)
        port.refuse()
        #expect(box.told == ["started", "refused"])
        #expect(port.transport.peerAddress == Self.peer)
    }

    @Test func `a stop is told once and last, and lets go of the protocol`() throws {
        weak var gone: Box?
        var port: MemoryDatagramTransport?
        do {
            let box = Box()
            gone = box
            let made = MemoryDatagramTransport(box)
            port = made
            box.onReceived = { _, _, transport in transport.stopListening() }
            made.receive([Datagram("a", Self.peer), Datagram("b", Self.peer)])
            #expect(box.told == ["started", "a", "stopped"])
            try made.transport.write("late", to: Self.peer)
            made.transport.resumeProducing()
            made.transport.stopListening()
            made.clock.turn()
            #expect(box.told == ["started", "a", "stopped"])
        }
        #expect(gone == nil)
        #expect(port?.isOpen == false)
        #expect(port?.clock.reactor.statistics.datagramPorts == 0)
    }

    @Test func `mistakes of the caller trap`() async {
        await #expect(processExitsWith: .failure) {
            try MemoryDatagramTransport(Box()).transport.write("to whom?")
        }
        await #expect(processExitsWith: .failure) {
            let port = MemoryDatagramTransport(Box())
            try port.transport.connect(to: Self.peer)
            try port.transport.write("psst", to: Self.other)
        }
        await #expect(processExitsWith: .failure) {
            let port = MemoryDatagramTransport(Box())
            try port.transport.connect(to: Self.peer)
            try port.transport.connect(to: Self.peer)
        }
    }
}
