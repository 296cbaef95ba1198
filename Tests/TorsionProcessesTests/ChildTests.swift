// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

import Glibc
import TestPrograms
import TestedBackends
import Testing
import Torsion
import TorsionProcesses

@Suite struct ChildTests {
    @Test(arguments: backendNames)
    func `what is written to standard input is read, and its end is EOF`(name: String) throws {
        let reactor = try Reactor.turned(by: name)
        let witness = Witness()
        witness.whenStarted = { child in
            child.standardInput?.write("hello\n")
            child.standardInput?.loseConnection()
        }
        try Command("cat").standardInput(.stream).standardOutput(.stream)
            .start(on: reactor, witness)
        #expect(reactor.turn { witness.ended })
        #expect(witness.output == "hello\n" && witness.status == .exited(0))
        reactor.finish()
    }

    @Test(arguments: backendNames)
    func `ending the outgoing direction ends a stream of one direction`(name: String) throws {
        let reactor = try Reactor.turned(by: name)
        let witness = Witness(), input = Peer(keepsHalfOpen: true)
        witness.make = { $0 == 0 ? input : nil }
        try Command("cat").standardInput(.stream).standardOutput(.stream)
            .start(on: reactor, witness)
        input.transport?.write("bye")
        input.transport?.loseWriteConnection()
        #expect(reactor.turn { witness.ended })
        #expect(witness.output == "bye" && input.loss == .closedByPeer)
        reactor.finish()
    }

    @Test(arguments: backendNames)
    func `a child that closes its input ends that stream, idle or not`(name: String) throws {
        let reactor = try Reactor.turned(by: name)
        let idle = Peer(), busy = Peer(), witness = Witness()
        witness.make = { $0 == 0 ? idle : $0 == 5 ? busy : nil }
        witness.whenStarted = { child in
            // More than a pipe holds.
            child.transport(of: 5)?.write(Bytes([UInt8](repeating: 7, count: 1 << 20)))
        }
        try Command("sh", "-c", "exec 0<&- 5<&-; echo closed; exec sleep 100").standardInput(
            .stream
        )
        .descriptor(5, .inputStream).standardOutput(.stream).start(on: reactor, witness)
        #expect(reactor.turn { idle.loss != nil && busy.loss != nil })
        #expect(idle.loss == .closedByPeer)
        if case .failed(let error)? = busy.loss {
            #expect(error.code == .brokenPipe)
        } else {
            Issue.record("\(String(describing: busy.loss))")
        }
        #expect(reactor.turn { witness.output == "closed\n" })
        #expect(witness.status == nil)
        witness.whenReceived = nil
        reactor.shutDown()
        #expect(witness.status == .signalled(.kill))
    }

    @Test(arguments: backendNames)
    func `bulk goes through a child unchanged, with pauses on both sides`(name: String) throws {
        let reactor = try Reactor.turned(by: name)
        let byteCount = (TestScope.isWhole ? 64 : 4) << 20
        let source = BulkSource(byteCount: byteCount), sink = BulkSink()
        ProcessEndpoint(Command("cat")).connect(on: reactor) { BulkPeer(source, sink) }
            .whenFailed { error in Issue.record(error) }
        #expect(reactor.turn(within: .seconds(60)) { sink.loss != nil })
        #expect(sink.byteCount == byteCount)
        #expect(sink.isUnchanged)
        #expect(sink.loss == .closedByPeer)
        #expect(source.pauses > 0, "the child never made us wait")
        #expect(reactor.turn { reactor.isIdle })
        reactor.finish()
    }

    @Test func `a grandchild that keeps the output cannot keep the end`() throws {
        let reactor = try Reactor.turned(by: "epoll")
        let witness = Witness()
        var command = Command("sh", "-c", "sleep 1000 & echo $!; exit 7").standardOutput(.stream)
        command.drainTimeout = .milliseconds(50)
        try command.start(on: reactor, witness)
        #expect(reactor.turn { witness.ended })
        #expect(witness.status == .exited(7))
        #expect(witness.events.sorted() == ["data", "ended", "exited", "started"])
        #expect(witness.events.last == "ended")
        let grandchild = try #require(pid_t(witness.output.dropLast()))
        #expect(kill(grandchild, SIGKILL) == 0, "it was left alone")
        reactor.finish()
    }

    @Test func `what the program has paused is delivered behind the exit`() throws {
        let reactor = try Reactor.turned(by: "epoll")
        let witness = Witness()
        var command = Command("echo", "late").standardOutput(.stream)
        command.drainTimeout = .milliseconds(20)
        var paused: (any StreamTransport)?
        witness.whenStarted = { child in
            paused = child.standardOutput
            paused?.pauseProducing()
        }
        try command.start(on: reactor, witness)
        #expect(reactor.turn { witness.status != nil })
        let later = reactor.now.advanced(by: .milliseconds(80))
        #expect(reactor.turn { reactor.now > later })
        #expect(!witness.ended)
        paused?.resumeProducing()
        #expect(reactor.turn { witness.ended })
        #expect(witness.output == "late\n")
        reactor.finish()
    }

    @Test(arguments: backendNames)
    func `a signal to the group reaches a whole tree`(name: String) throws {
        let reactor = try Reactor.turned(by: name)
        let witness = Witness()
        witness.whenReceived = { child in try? child.signalGroup(.terminate) }
        // Standard output ends when the last of them has gone.
        try Command("sh", "-c", "sleep 1000 & (sleep 1000 & sleep 1000) & echo ready; wait")
            .standardOutput(.stream).start(on: reactor, witness)
        #expect(reactor.turn { witness.ended })
        #expect(witness.status == .signalled(.terminate))
        reactor.finish()
    }

    @Test func `a child of our own group is signalled alone`() throws {
        let reactor = try Reactor.turned(by: "epoll")
        let witness = Witness()
        let child = try Command("sleep", "1000").group(.inherited).start(on: reactor, witness)
        #expect(getpgid(child.processID) == getpgrp())
        try child.signalGroup(.hangUp)
        #expect(reactor.turn { witness.ended })
        #expect(witness.status == .signalled(.hangUp))
        reactor.finish()
    }

    @Test func `a session of its own is led by the child`() throws {
        let reactor = try Reactor.turned(by: "epoll")
        let witness = Witness()
        let child = try Command("sleep", "1000").group(.ownSession).start(on: reactor, witness)
        #expect(getsid(child.processID) == child.processID)
        child.kill()
        #expect(reactor.turn { witness.ended })
        reactor.finish()
    }

    @Test func `a stopped child has not exited, and can be killed`() throws {
        let reactor = try Reactor.turned(by: "epoll")
        let witness = Witness()
        let child = try Command("sleep", "1000").start(on: reactor, witness)
        try child.signal(Signal(number: SIGSTOP))
        // Until the kernel has stopped it.
        var found = siginfo_t()
        #expect(waitid(P_PID, id_t(child.processID), &found, WSTOPPED | WNOWAIT) == 0)
        reactor.turn(until: reactor.now)
        #expect(witness.status == nil)
        child.kill()
        #expect(reactor.turn { witness.ended })
        #expect(witness.status == .signalled(.kill))
        reactor.finish()
    }

    @Test func `signals are as they are by default, and none is blocked`() throws {
        let reactor = try Reactor.turned(by: "epoll")
        let witness = Witness()
        try Command("grep", "-E", "Sig(Blk|Ign)", "/proc/self/status").standardOutput(.stream)
            .start(on: reactor, witness)
        #expect(reactor.turn { witness.ended })
        let blocked = try #require(witness.output.split(separator: "\n").first)
        #expect(blocked.hasSuffix("\t0000000000000000"))
        let ignored = try #require(witness.output.split(separator: "\t").last?.dropLast())
        let bits = try #require(UInt64(ignored, radix: 16))
        #expect(bits & (1 << (UInt64(SIGPIPE) - 1)) == 0, "SIGPIPE is ignored")
        reactor.finish()
    }

    @Test func `a child is asked to end, and killed when it does not`() throws {
        let reactor = try Reactor.turned(by: "epoll")
        let polite = Witness(), deaf = Witness()
        polite.whenReceived = { child in child.end() }
        deaf.whenReceived = { child in child.end(within: .milliseconds(30)) }
        try Command("sh", "-c", "echo; exec sleep 1000").standardOutput(.stream)
            .start(on: reactor, polite)
        try Command("sh", "-c", "trap '' TERM; echo; while :; do sleep 1000; done")
            .standardOutput(.stream).start(on: reactor, deaf)
        #expect(reactor.turn { polite.ended && deaf.ended })
        #expect(polite.status == .signalled(.terminate))
        #expect(deaf.status == .signalled(.kill))
        reactor.finish()
    }

    @Test(arguments: backendNames)
    func `a socket carries both directions of one descriptor`(name: String) throws {
        let reactor = try Reactor.turned(by: name)
        let peer = Peer(keepsHalfOpen: true), witness = Witness()
        witness.make = { _ in peer }
        try Command("sh", "-c", "cat <&4 >&4").descriptor(4, .socket).start(on: reactor, witness)
        peer.transport?.write("both ways")
        peer.transport?.loseWriteConnection()
        #expect(reactor.turn { peer.loss == .closedByPeer })
        #expect(peer.text == "both ways")
        #expect(reactor.turn { witness.ended })
        reactor.finish()
    }
}

/// Says what it sends only as it is taken.
private final class BulkSource: PushProducer {
    let byteCount: Int
    private(set) var pauses = 0
    private var pieces = BulkPieces()
    private var sent = 0
    private var isPaused = false
    private var transport: (any StreamTransport)?

    init(byteCount: Int) { self.byteCount = byteCount }

    func start(_ transport: any StreamTransport) {
        self.transport = transport
        transport.registerProducer(self)
        send()
    }

    func pauseProducing() {
        pauses += 1
        isPaused = true
    }

    func resumeProducing() {
        isPaused = false
        send()
    }

    func stopProducing() { transport = nil }

    private func send() {
        guard let transport else { return }
        while !isPaused, sent < byteCount {
            let piece = pieces[sent / BulkPieces.byteCount]
            sent += piece.count
            transport.write(Bytes(piece))
        }
        guard sent == byteCount, !isPaused else { return }
        self.transport = nil
        transport.unregisterProducer()
        transport.loseWriteConnection()
    }
}

/// Takes a rest after some of what it reads.
private final class BulkSink {
    private(set) var isUnchanged = true
    private(set) var byteCount = 0
    private var pieces = BulkPieces()
    var loss: ConnectionLoss?
    private var reads = 0

    func take(_ bytes: RawSpan, _ transport: any StreamTransport) {
        bytes.withUnsafeBytes { compare($0) }
        reads += 1
        guard reads % 7 == 0 else { return }
        transport.pauseProducing()
        transport.reactor.callLater(.zero) { transport.resumeProducing() }
    }

    private func compare(_ bytes: UnsafeRawBufferPointer) {
        var rest = bytes[...]
        while !rest.isEmpty {
            let expected = pieces[byteCount / BulkPieces.byteCount]
            let start = byteCount % BulkPieces.byteCount
            let run = rest.prefix(expected.count - start)
            isUnchanged =
                expected.withUnsafeBytes { expected in
                    memcmp(
                        UnsafeRawBufferPointer(rebasing: run).baseAddress!,
                        expected.baseAddress! + start, run.count)
                } == 0 && isUnchanged
            byteCount += run.count
            rest = rest.dropFirst(run.count)
        }
    }
}

/// What is sent: each piece begins with its number.
///
/// Compared by `memcmp`, since a loop over tens of megabytes takes a minute without optimisation.
private struct BulkPieces {
    static let byteCount = 16_384
    private var piece = (0..<byteCount).map { UInt8(truncatingIfNeeded: $0 &* 31 >> 3) }

    subscript(number: Int) -> [UInt8] {
        mutating get {
            for place in 0..<8 { piece[place] = UInt8(truncatingIfNeeded: number >> (8 * place)) }
            return piece
        }
    }
}

private final class BulkPeer: HalfCloseableProtocol {
    private let source: BulkSource
    private let sink: BulkSink

    init(_ source: BulkSource, _ sink: BulkSink) {
        self.source = source
        self.sink = sink
    }

    func connectionMade(_ transport: any StreamTransport) { source.start(transport) }
    func dataReceived(_ bytes: RawSpan, from transport: any StreamTransport) {
        sink.take(bytes, transport)
    }
    func readConnectionLost(from transport: any StreamTransport) { transport.loseConnection() }
    func writeConnectionLost(from transport: any StreamTransport) {}
    func connectionLost(_ why: ConnectionLoss, from transport: any StreamTransport) {
        sink.loss = why
    }
}
