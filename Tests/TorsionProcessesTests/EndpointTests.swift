// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

import Glibc
import TestedBackends
import Testing
import Torsion
import TorsionProcesses

@Suite struct OutputTests {
    @Test(arguments: backendNames)
    func `what a command writes is collected, whatever its status`(name: String) throws {
        let reactor = try Reactor.turned(by: name)
        let output = try reactor.wait(
            for: Command("sh", "-c", "cat; echo oops >&2; exit 4")
                .output(on: reactor, input: Bytes("some input\n")))
        #expect(output.standardOutput == Bytes("some input\n"))
        #expect(output.standardError == Bytes("oops\n"))
        let failure = #expect(throws: ProcessFailure.self) { try output.requireSuccess() }
        #expect(failure.map { "\($0)" } == "sh exited with 4")
        reactor.finish()
    }

    @Test func `input larger than a pipe is written while output is read`() throws {
        let reactor = try Reactor.turned(by: "epoll")
        let input = Bytes([UInt8](repeating: 65, count: 900_000))
        let output = try reactor.wait(for: Command("cat").output(on: reactor, input: input))
        #expect(output.standardOutput == input)
        reactor.finish()
    }

    @Test func `more output than allowed kills the child`() throws {
        let reactor = try Reactor.turned(by: "epoll")
        let result = Command("yes").output(on: reactor, limitBytes: 10_000)
        let error = #expect(throws: OutputLimitExceeded.self) { try reactor.wait(for: result) }
        #expect(error.map { "\($0)" } == "yes wrote more than 10000 bytes")
        #expect(reactor.turn { reactor.isIdle })
        reactor.finish()
    }

    @Test func `cancelling kills the child`() throws {
        let reactor = try Reactor.turned(by: "epoll")
        let result = Command("sleep", "1000").output(on: reactor)
        var error: (any Error)?
        result.whenFailed { error = $0 }
        result.cancel()
        #expect(error is CancellationError)
        #expect(reactor.turn { reactor.isIdle })
        reactor.finish()
    }

    @Test func `a start that fails fails the Deferred, later`() throws {
        let reactor = try Reactor.turned(by: "epoll")
        let result = Command("no-such-program").output(on: reactor)
        #expect(result.isPending)
        let error = #expect(throws: IOError.self) { try reactor.wait(for: result) }
        #expect(error?.operation == .spawn)
        reactor.finish()
    }

    @Test func `a task awaits the output`() throws {
        var text = ""
        try Reactor.run(signals: .ignore) { reactor in
            reactor.spawn {
                let output = try await Command("echo", "async").output(on: reactor).value
                text = String(decoding: output.standardOutput.span)
                reactor.stop(within: .zero)
            }
        }
        #expect(text == "async\n")
    }
}

@Suite struct EndpointTests {
    @Test(arguments: backendNames)
    func `a child is a peer, and its EOF that of the peer`(name: String) throws {
        let reactor = try Reactor.turned(by: name)
        let peer = Peer()
        _ = try reactor.wait(for: ProcessEndpoint(Command("cat")).connect(on: reactor) { peer })
        peer.transport?.write("echo\n")
        #expect(reactor.turn { peer.text == "echo\n" })
        peer.transport?.loseWriteConnection()
        #expect(reactor.turn { peer.loss == .closedByPeer })
        #expect(reactor.turn { reactor.isIdle })
        reactor.finish()
    }

    @Test(arguments: backendNames)
    func `what a child says behind the end of its input is heard`(name: String) throws {
        let reactor = try Reactor.turned(by: name)
        let peer = Peer()
        _ = try reactor.wait(
            for: ProcessEndpoint(Command("sort")).connect(on: reactor) { peer })
        peer.transport?.write("b\na\n")
        peer.transport?.loseWriteConnection()
        #expect(reactor.turn { peer.loss == .closedByPeer })
        #expect(peer.text == "a\nb\n")
        #expect(reactor.turn { reactor.isIdle })
        reactor.finish()
    }

    @Test(arguments: backendNames)
    func `a child that fails breaks the connection`(name: String) throws {
        let reactor = try Reactor.turned(by: name)
        let peer = Peer()
        let endpoint = ProcessEndpoint(Command("sh", "-c", "echo half; exit 9"))
        _ = try reactor.wait(for: endpoint.connect(on: reactor) { peer })
        #expect(reactor.turn { peer.loss != nil })
        #expect(peer.text == "half\n")
        #expect(
            peer.loss == .protocolFailed(ProcessFailure(program: "sh", status: .exited(9))))
        reactor.finish()
    }

    @Test(arguments: backendNames)
    func `what a child says is heard, also if it takes no input`(name: String) throws {
        let reactor = try Reactor.turned(by: name)
        for script in ["echo out", "exec <&-; sleep 0.05; echo out", "exec <&-; echo out; exit 0"] {
            let peer = Peer()
            _ = try reactor.wait(
                for: ProcessEndpoint(Command("sh", "-c", script)).connect(on: reactor) { peer })
            // More than a pipe holds.
            peer.transport?.write(Bytes([UInt8](repeating: 65, count: 200_000)))
            #expect(reactor.turn { peer.loss != nil })
            #expect(peer.text == "out\n", "\(script)")
            // It did not take everything.
            guard case .failed(let error)? = peer.loss else {
                Issue.record("\(script): \(String(describing: peer.loss))")
                continue
            }
            #expect(error.code == .brokenPipe)
        }
        #expect(reactor.turn { reactor.isIdle })
        reactor.finish()
    }

    @Test(arguments: backendNames)
    func `a grandchild that keeps the output open does not keep the connection`(
        name: String
    ) throws {
        let reactor = try Reactor.turned(by: name)
        for (script, loss) in [
            ("sleep 1000 2>&- & echo $!", ConnectionLoss.closedByPeer),
            (
                "sleep 1000 2>&- & echo $!; exit 3",
                .protocolFailed(ProcessFailure(program: "sh", status: .exited(3)))
            ),
        ] {
            var command = Command("sh", "-c", script)
            command.drainTimeout = .milliseconds(30)
            let peer = Peer()
            _ = try reactor.wait(for: ProcessEndpoint(command).connect(on: reactor) { peer })
            #expect(reactor.turn(within: .seconds(5)) { peer.loss != nil })
            #expect(peer.loss == loss, "\(script)")
            let grandchild = try #require(pid_t(peer.text.dropLast()), "\(peer.text)")
            #expect(kill(grandchild, SIGKILL) == 0)
        }
        #expect(reactor.turn { reactor.isIdle })
        reactor.finish()
    }

    @Test func `a connection that is paused behind the exit has what was said when it goes on`()
        throws
    {
        let reactor = try Reactor.turned(by: "epoll")
        var command = Command("sh", "-c", "sleep 1000 2>&- & echo $!")
        command.drainTimeout = .milliseconds(5)
        let peer = Peer()
        _ = try reactor.wait(for: ProcessEndpoint(command).connect(on: reactor) { peer })
        peer.transport?.pauseProducing()
        var isDue = false
        reactor.callLater(.milliseconds(60)) { isDue = true }
        #expect(reactor.turn { isDue } && peer.loss == nil)
        peer.transport?.resumeProducing()
        #expect(reactor.turn { peer.loss == .closedByPeer })
        let grandchild = try #require(pid_t(peer.text.dropLast()), "\(peer.text)")
        #expect(kill(grandchild, SIGKILL) == 0)
        #expect(reactor.turn { reactor.isIdle })
        reactor.finish()
    }

    @Test(arguments: backendNames)
    func `an error and a report name the child and its stream`(name: String) throws {
        let reactor = try Reactor.turned(by: name)
        var reports: [String] = []
        reactor.unhandledError = { reports.append("\($0)") }
        let witness = Witness()
        witness.make = { _ in Thrower() }
        let child = try Command("echo", "x").standardOutput(.stream).start(on: reactor, witness)
        let called = "standard output of echo (\(child.processID))"
        #expect(child.standardOutput.map { "\($0.peerAddress)" } == called)
        #expect(reactor.turn { witness.ended })
        #expect(reports.count == 1 && reports[0].contains("the protocol of \(called), connection "))
        let connected = Peer()
        _ = try reactor.wait(
            for: ProcessEndpoint(Command("sh", "-c", "exec <&-; echo")).connect(on: reactor) {
                connected
            })
        connected.transport?.write(Bytes([UInt8](repeating: 65, count: 200_000)))
        #expect(reactor.turn { connected.loss != nil })
        guard case .failed(let error)? = connected.loss else {
            Issue.record("\(String(describing: connected.loss))")
            return
        }
        #expect("\(error)".hasPrefix("cannot write to sh ("))
        #expect(reactor.turn { reactor.isIdle })
        reactor.finish()
    }

    private final class Thrower: StreamProtocol {
        struct Wanted: Error {}
        func dataReceived(_ bytes: RawSpan, from transport: any StreamTransport) throws {
            throw Wanted()
        }
    }

    @Test func `losing the connection ends a child that reads, and at last one that does not`()
        throws
    {
        let reactor = try Reactor.turned(by: "epoll")
        var deaf = Command("sh", "-c", "trap '' TERM; echo; while :; do sleep 1000; done")
        deaf.endTimeout = .milliseconds(20)
        for command in [Command("cat"), deaf] {
            let peer = Peer()
            _ = try reactor.wait(for: ProcessEndpoint(command).connect(on: reactor) { peer })
            if command.program == "sh" { #expect(reactor.turn { peer.text == "\n" }) }
            peer.transport?.loseConnection()
            #expect(reactor.turn { reactor.isIdle })
            #expect(peer.loss == .closedLocally)
        }
        reactor.finish()
    }

    @Test func `aborting the connection ends the child at once`() throws {
        let reactor = try Reactor.turned(by: "epoll")
        let peer = Peer()
        _ = try reactor.wait(
            for: ProcessEndpoint(Command("sleep", "1000")).connect(on: reactor) { peer })
        peer.transport?.abortConnection()
        #expect(reactor.turn { reactor.isIdle })
        #expect(peer.loss == .aborted)
        reactor.finish()
    }

    @Test func `a connect that is cancelled, or cannot start, leaves no child`() throws {
        let reactor = try Reactor.turned(by: "epoll")
        let cancelled = ProcessEndpoint(Command("cat")).connect(on: reactor) { Peer() }
        cancelled.whenFailed { _ in }
        cancelled.cancel()
        let missing = ProcessEndpoint(Command("no-such-program")).connect(on: reactor) { Peer() }
        #expect(throws: IOError.self) { try reactor.wait(for: missing) }
        #expect(reactor.turn { reactor.isIdle })
        reactor.finish()
    }

    @Test func `text names a program, its arguments and its folder`() throws {
        let parser = EndpointParser.standard.addingProcesses()
        let reactor = try Reactor.turned(by: "epoll")
        let peer = Peer()
        let text = "exec:sh:-c:pwd; echo $1 $2:sh:a\\:b:c\\=d:directory=/tmp"
        let endpoint = try parser.client(parsing: text)
        let standard = EndpointParser.standard
        try reactor.start()
        endpoint.connect(on: reactor) { peer }.whenFailed { error in Issue.record(error) }
        #expect(reactor.turn { peer.loss != nil })
        #expect(peer.text == "/tmp\na:b c=d\n")
        #expect(throws: EndpointError.self) { try parser.client(parsing: "exec:") }
        #expect(throws: EndpointError.self) { try parser.client(parsing: "exec:cat:color=red") }
        #expect(throws: EndpointError.self) { try standard.client(parsing: "exec:cat") }
        #expect("\(ProcessEndpoint(Command("a", "b:c", "")))" == "exec:a:b\\:c:")
        reactor.finish()
    }
}

@Suite struct TerminalTests {
    @Test(arguments: backendNames)
    func `a child has a terminal of its own`(name: String) throws {
        let reactor = try Reactor.turned(by: name)
        let witness = Witness()
        let script =
            "stty size; tty; test -t 0 && test -t 1 && test -t 2 && echo all; stty -echo;"
            + " read line; echo \"<$line>\"; read line || echo EOF"
        let child = try Command("sh", "-c", script).terminal(TerminalSize(rows: 33, columns: 99))
            .start(on: reactor, witness)
        var text: String { witness.texts[0] ?? "" }
        #expect(reactor.turn { text.contains("all") })
        #expect(text.hasPrefix("33 99\r\n/dev/pts/"))
        child.standardInput?.write("typed\n")
        #expect(reactor.turn { text.contains("<typed>") })
        child.standardInput?.write("\u{4}")
        #expect(reactor.turn { witness.ended })
        #expect(text.hasSuffix("EOF\r\n"))
        #expect(witness.status == .exited(0))
        reactor.finish()
    }

    @Test func `Ctrl-C interrupts, and a new size is told`() throws {
        let reactor = try Reactor.turned(by: "epoll")
        let witness = Witness()
        let script = "trap 'stty size' WINCH; echo ready; while :; do sleep 0.01; done"
        let child = try Command("sh", "-c", script).terminal().start(on: reactor, witness)
        var text: String { witness.texts[0] ?? "" }
        #expect(reactor.turn { text.contains("ready") })
        try child.resizeTerminal(to: TerminalSize(rows: 50, columns: 132))
        #expect(reactor.turn { text.contains("50 132") })
        child.standardInput?.write("\u{3}")
        #expect(reactor.turn { witness.ended })
        #expect(witness.status == .signalled(.interrupt))
        #expect(throws: IOError.self) { try child.resizeTerminal(to: TerminalSize()) }
        reactor.finish()
    }

    @Test func `closing the terminal hangs up`() throws {
        let reactor = try Reactor.turned(by: "epoll")
        let witness = Witness()
        witness.whenReceived = { child in child.standardOutput?.loseConnection() }
        try Command("sh", "-c", "echo ready; exec sleep 1000").terminal()
            .start(on: reactor, witness)
        #expect(reactor.turn { witness.ended })
        #expect(witness.status == .signalled(.hangUp))
        reactor.finish()
    }

    @Test func `a child without a terminal has no size`() throws {
        let reactor = try Reactor.turned(by: "epoll")
        let child = try Command("true").start(on: reactor)
        let error = #expect(throws: IOError.self) {
            try child.resizeTerminal(to: TerminalSize())
        }
        #expect(error?.operation == .configure)
        #expect(reactor.turn { child.isOver })
        reactor.finish()
    }
}
