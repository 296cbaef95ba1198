// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

import Glibc
import TestedBackends
import Testing
import Torsion
import TorsionProcesses
import TorsionTesting

/// What becomes of children when their reactor stops.
@Suite struct ProcessStopTests {
    private func run(
        on name: String, stoppingWithin time: Duration, _ command: Command, _ witness: Witness
    ) throws {
        let backend = try BackendChoice.named(name, among: BackendChoice.tested)
        let reactor = Reactor(backend: backend, services: UVServices.make)
        witness.whenReceived = { child in child.reactor.stop(within: time) }
        try reactor.run(signals: .ignore) { reactor in try command.start(on: reactor, witness) }
        #expect(witness.ended)
        #expect(!hasChild(witness))
    }

    private func hasChild(_ witness: Witness) -> Bool {
        witness.child.map { waitpid($0, nil, WNOHANG) >= 0 } ?? true
    }

    @Test(arguments: backendNames)
    func `a child that reads sees EOF and SIGTERM, and what it says last is heard`(
        name: String
    ) throws {
        let witness = Witness()
        let script = "trap 'echo caught; exit 5' TERM; echo ready; while :; do sleep 0.01; done"
        try run(
            on: name, stoppingWithin: .seconds(10),
            Command("sh", "-c", script).standardOutput(.stream).standardInput(.stream), witness)
        #expect(witness.output == "ready\ncaught\n")
        #expect(witness.status == .exited(5))
    }

    @Test(arguments: backendNames)
    func `a child that is deaf is killed before the grace period is over`(name: String) throws {
        let witness = Witness()
        let script = "trap '' TERM; echo ready; while :; do sleep 1000; done"
        try run(
            on: name, stoppingWithin: .milliseconds(200),
            Command("sh", "-c", script).standardOutput(.stream), witness)
        #expect(witness.status == .signalled(.kill))
        #expect(witness.events.suffix(2) == ["exited", "ended"])
    }

    @Test(arguments: backendNames)
    func `without a grace period it is killed at once`(name: String) throws {
        let witness = Witness()
        try run(
            on: name, stoppingWithin: .zero,
            Command("sh", "-c", "echo; exec sleep 1000").standardOutput(.stream), witness)
        #expect(witness.status == .signalled(.kill))
    }

    @Test func `a child that its protocol leaves alone is killed in time`() throws {
        final class Careless: ProcessProtocol {
            var status: ProcessStatus?
            func dataReceived(_ bytes: RawSpan, on descriptor: Int32, of child: ChildProcess) {
                child.reactor.stop(within: .milliseconds(120))
            }
            func shutdownRequested(_ child: ChildProcess) {}
            func processEnded(_ status: ProcessStatus, _ child: ChildProcess) {
                self.status = status
            }
        }
        let job = Careless()
        try Reactor.run(signals: .ignore) { reactor in
            try Command("sh", "-c", "echo; exec sleep 1000").standardOutput(.stream)
                .start(on: reactor, job)
        }
        #expect(job.status == .signalled(.kill))
    }

    @Test func `a start when the run ends is refused`() throws {
        var refusal: IOError?
        try Reactor.run(signals: .ignore) { reactor in
            reactor.addTrigger(.after, .shutdown) {
                do throws(IOError) { try Command("true").start(on: reactor) } catch {
                    refusal = error
                }
            }
            reactor.stop(within: .zero)
        }
        #expect(refusal?.operation == .spawn && refusal?.code == .canceled)
    }

    @Test func `an endpoint's child ends with its connection`() throws {
        let peer = Peer()
        try Reactor.run(signals: .ignore) { reactor in
            ProcessEndpoint(Command("cat")).connect(on: reactor) { peer }
                .addCallback { _ in _ = reactor.stop() }
                .whenFailed { error in Issue.record(error) }
        }
        #expect(peer.loss == .closedLocally)
    }
}

/// Children that closures play.
@Suite struct PlayedTests {
    /// Answers each line in capitals, and ends with its input.
    private final class Shouter: HalfCloseableProtocol {
        let child: PlayedChild
        let output: Int32

        init(_ child: PlayedChild, _ output: Int32) {
            self.child = child
            self.output = output
        }

        func dataReceived(_ bytes: RawSpan, from transport: any StreamTransport) {
            let text = String(decoding: bytes).uppercased()
            (output == 0 ? transport : child.transport(of: output))?.write(text)
        }

        func readConnectionLost(from transport: any StreamTransport) { child.exit() }
        func writeConnectionLost(from transport: any StreamTransport) {}
    }

    private final class Mouth: StreamProtocol {
        func dataReceived(_ bytes: RawSpan, from transport: any StreamTransport) {}
    }

    @Test func `children are played in a simulation, whatever its faults`() throws {
        try simulate("children", seeds: 1...5) { world in
            let host = world.host("parent")
            let witness = Witness()
            try host.run { reactor in
                reactor.playChildren { child in
                    child.connect(0) { Shouter(child, 1) }
                    child.connect(1) { Mouth() }
                    child.reactor.callLater(.seconds(600)) { child.exit(.exited(8)) }
                }
                try Command("shout").standardInput(.stream).standardOutput(.stream)
                    .start(on: reactor, witness).standardInput?.write("minutes")
            }
            try world.run { witness.ended }
            #expect(witness.output == "MINUTES" && witness.status == .exited(8))
        }
    }

    @Test func `a played child reads, writes, exits and is over`() throws {
        let witness = Witness()
        let reactor = try Reactor.turned(by: "epoll")
        reactor.playChildren { child in
            child.connect(0) { Shouter(child, 1) }
            child.connect(1) { Mouth() }
        }
        witness.whenStarted = { child in
            child.standardInput?.write("hello\n")
            child.standardInput?.loseConnection()
        }
        try Command("shout").standardInput(.stream).standardOutput(.stream)
            .start(on: reactor, witness)
        #expect(reactor.turn { witness.ended })
        #expect(witness.output == "HELLO\n" && witness.status == .exited(0))
        #expect(witness.events.sorted() == ["data", "ended", "exited", "started"])
        #expect(witness.events.last == "ended")
        reactor.finish()
    }

    @Test func `a played child is an endpoint's peer, with backpressure`() throws {
        let reactor = try Reactor.turned(by: "epoll")
        reactor.playChildren { child in child.connect(0) { Shouter(child, 0) } }
        let peer = Peer()
        _ = try reactor.wait(for: ProcessEndpoint(Command("shout")).connect(on: reactor) { peer })
        let piece = String(repeating: "x", count: 150_000)
        peer.transport?.write(piece)
        peer.transport?.write("end")
        #expect(peer.transport.map { $0.pendingByteCount > 80_000 } ?? false)
        #expect(reactor.turn { peer.text.utf8.count == 150_003 })
        #expect(peer.text.hasSuffix("XXEND"))
        peer.transport?.loseWriteConnection()
        #expect(reactor.turn { peer.loss != nil })
        #expect(peer.loss == .closedByPeer)
        #expect(reactor.turn { reactor.statistics.openConnections == 0 })
        reactor.finish()
    }

    @Test func `signals reach a played child, and SIGKILL always`() throws {
        let reactor = try Reactor.turned(by: "epoll")
        var heard: [Signal] = []
        reactor.playChildren { child in
            if child.command.program == "deaf" { child.whenSignalled = { heard.append($0) } }
        }
        let deaf = Witness(), plain = Witness()
        var timid = Command("deaf")
        timid.endTimeout = .milliseconds(10)
        let first = try timid.start(on: reactor, deaf)
        let second = try Command("plain").start(on: reactor, plain)
        reactor.callLater(.milliseconds(1)) {
            first.end()
            second.end()
        }
        #expect(reactor.turn { deaf.ended && plain.ended })
        #expect(heard == [.terminate])
        #expect(deaf.status == .signalled(.kill) && plain.status == .signalled(.terminate))
        reactor.finish()
    }

    @Test func `a command's output is what a played child writes`() throws {
        let reactor = try Reactor.turned(by: "epoll")
        reactor.playChildren { child in
            child.connect(1) { Mouth() }?.write("from memory")
            child.exit(.exited(2))
        }
        let output = try reactor.wait(for: Command("anything").output(on: reactor))
        #expect(output.standardOutput == Bytes("from memory") && output.status == .exited(2))
        reactor.finish()
    }
}
