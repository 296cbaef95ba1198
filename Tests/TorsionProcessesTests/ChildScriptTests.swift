// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

import Glibc
import TestedBackends
import Testing
import Torsion
import TorsionProcesses

/// What the child scripts of Twisted's own tests try (`twisted/test/process_*.py`), as shells do it.
@Suite struct ChildScriptTests {
    /// A shell whose descriptors 0, 1 and 2 are streams.
    private func shell(_ script: String) -> Command {
        Command("sh", "-c", script).standardInput(.stream).standardOutput(.stream)
            .standardError(.stream)
    }

    /// Reads four bytes and no more.
    private static let readFour = "dd bs=1 count=4 2>/dev/null"

    private func isReaped(_ witness: Witness) -> Bool {
        guard let number = witness.child else { return false }
        return waitpid(number, nil, WNOHANG) < 0 && errno == ECHILD
    }

    @Test(arguments: backendNames)
    func `process_echoer: all that is written comes back, and the rest behind its end`(
        name: String
    ) throws {
        let reactor = try Reactor.turned(by: name)
        let witness = Witness()
        let child = try shell("cat; printf byebye >&2").start(on: reactor, witness)
        let text = String(repeating: "abcdefghijklm", count: 8_000)
        for _ in 0..<4 { child.standardInput?.write(text) }
        #expect(reactor.turn { witness.output.utf8.count == 4 * text.utf8.count })
        #expect(witness.texts[2] == nil, "it has not ended yet")
        child.standardInput?.loseConnection()
        #expect(reactor.turn { witness.ended })
        #expect(witness.texts[2] == "byebye" && witness.status == .exited(0))
        #expect(isReaped(witness))
        reactor.finish()
    }

    @Test(arguments: backendNames)
    func `process_fds: descriptors of both directions, and the end of each`(
        name: String
    ) throws {
        let reactor = try Reactor.turned(by: name)
        let witness = Witness(), fourth = Peer()
        witness.make = { $0 == 4 ? fourth : nil }
        let script =
            "[ \"$(\(Self.readFour))\" = abcd ] || exit 1; printf righto;"
            + " [ \"$(\(Self.readFour) <&3)\" = efgh ] || exit 2; exec 4>&-;"
            + " [ -z \"$(cat <&5)\" ] || exit 3; printf closed"
        let child = try shell(script).descriptor(3, .inputStream).descriptor(4, .stream)
            .descriptor(5, .inputStream).start(on: reactor, witness)
        child.standardInput?.write("abcd")
        #expect(reactor.turn { witness.output == "righto" })
        #expect(fourth.loss == nil)
        child.transport(of: 3)?.write("efgh")
        #expect(reactor.turn { fourth.loss == .closedByPeer })
        #expect(witness.status == nil && child.transport(of: 4) == nil)
        child.transport(of: 5)?.loseConnection()
        #expect(reactor.turn { witness.ended })
        #expect(witness.output == "rightoclosed" && witness.status == .exited(0))
        #expect(isReaped(witness))
        reactor.finish()
    }

    @Test(arguments: backendNames)
    func `process_linger: the end of its output is told while it goes on`(name: String) throws {
        let reactor = try Reactor.turned(by: name)
        let witness = Witness(), output = Peer(), errors = Peer()
        witness.make = { $0 == 1 ? output : $0 == 2 ? errors : nil }
        let child = try shell("echo here is some text; echo goodbye; exec 1>&- 2>&-; read line")
            .start(on: reactor, witness)
        #expect(reactor.turn { output.loss != nil && errors.loss != nil })
        #expect(output.text == "here is some text\ngoodbye\n")
        #expect(output.loss == .closedByPeer && errors.loss == .closedByPeer)
        #expect(witness.status == nil && kill(child.processID, 0) == 0)
        child.standardInput?.loseConnection()
        #expect(reactor.turn { witness.ended })
        // There was no line.
        #expect(witness.status == .exited(1))
        #expect(isReaped(witness))
        reactor.finish()
    }

    @Test(arguments: backendNames)
    func `process_reader: one child's input is not held open by another`(name: String) throws {
        let reactor = try Reactor.turned(by: name)
        let witnesses = [Witness(), Witness(), Witness()]
        let children = try witnesses.map { witness in
            try shell("echo ready; exec cat").start(on: reactor, witness)
        }
        #expect(reactor.turn { witnesses.allSatisfy { $0.output == "ready\n" } })
        for (child, witness) in zip(children, witnesses) {
            #expect(!witness.ended)
            child.standardInput?.loseConnection()
            #expect(reactor.turn { witness.ended })
            #expect(witness.status == .exited(0) && isReaped(witness))
        }
        reactor.finish()
    }

    @Test(arguments: backendNames)
    func `process_reader: of two terminals each ends its own child`(name: String) throws {
        let reactor = try Reactor.turned(by: name)
        let witnesses = [Witness(), Witness()]
        let children = try witnesses.map { witness in
            try Command("sh", "-c", "echo ready; exec cat").terminal().start(on: reactor, witness)
        }
        #expect(reactor.turn { witnesses.allSatisfy { $0.texts[0] == "ready\r\n" } })
        for (child, witness) in zip(children, witnesses) {
            #expect(!witness.ended)
            child.standardInput?.loseConnection()
            #expect(reactor.turn { witness.ended })
            #expect(witness.status == .signalled(.hangUp) && isReaped(witness))
        }
        reactor.finish()
    }

    @Test(arguments: [Signal.hangUp, .interrupt, .kill, .terminate])
    func `process_signal: each signal is the end that is told`(signal: Signal) throws {
        let reactor = try Reactor.turned(by: "epoll")
        let witness = Witness()
        witness.whenReceived = { child in try? child.signal(signal) }
        try shell("echo ok, signal us; read line; exit 1").start(on: reactor, witness)
        #expect(reactor.turn { witness.ended })
        #expect(witness.status == .signalled(signal) && isReaped(witness))
        reactor.finish()
    }

    @Test(arguments: backendNames)
    func `process_tester: stage by stage, each stream ends by itself`(name: String) throws {
        let reactor = try Reactor.turned(by: name)
        let witness = Witness(), output = Peer(), errors = Peer()
        witness.make = { $0 == 1 ? output : $0 == 2 ? errors : nil }
        let script =
            "a=$(\(Self.readFour)); printf %s \"$a\"; exec 1>&-;"
            + " b=$(\(Self.readFour)); printf %s \"$b\" >&2; exec 2>&-;"
            + " c=$(\(Self.readFour)); [ \"$c\" = 1234 ] && exit 23"
        let child = try shell(script).start(on: reactor, witness)
        child.standardInput?.write("abcd")
        #expect(reactor.turn { output.loss != nil })
        #expect(output.text == "abcd" && errors.loss == nil)
        child.standardInput?.write("efgh")
        #expect(reactor.turn { errors.loss != nil })
        #expect(errors.text == "efgh" && witness.status == nil)
        child.standardInput?.write("1234")
        #expect(reactor.turn { witness.ended })
        #expect(witness.status == .exited(23) && witness.events.last == "ended")
        #expect(isReaped(witness))
        reactor.finish()
    }

    @Test(arguments: backendNames)
    func `process_tty: the terminal is the child's own, by its name too`(name: String) throws {
        let reactor = try Reactor.turned(by: name)
        let witness = Witness()
        let script = "stty -echo; echo go; IFS= read -r line </dev/tty; echo \"[$line]\" >/dev/tty"
        let child = try Command("sh", "-c", script).terminal().start(on: reactor, witness)
        #expect(reactor.turn { witness.texts[0]?.contains("go") ?? false })
        child.standardInput?.write("hello world!\n")
        #expect(reactor.turn { witness.ended })
        #expect(witness.texts[0]?.hasSuffix("[hello world!]\r\n") ?? false)
        #expect(witness.status == .exited(0) && isReaped(witness))
        reactor.finish()
    }

    @Test(arguments: [Int32(1), 2])
    func `a child that writes where nobody reads gets SIGPIPE`(descriptor: Int32) throws {
        let reactor = try Reactor.turned(by: "epoll")
        let witness = Witness()
        witness.whenReceived = { child in child.transport(of: descriptor)?.abortConnection() }
        try shell("while echo x >&\(descriptor); do :; done").start(on: reactor, witness)
        #expect(reactor.turn { witness.ended })
        #expect(
            witness.status == .signalled(Signal(number: SIGPIPE)) || witness.status == .exited(0))
        #expect(isReaped(witness))
        reactor.finish()
    }

    @Test func `an exit that nobody has looked at is no more a target of signals`() throws {
        let reactor = try Reactor.turned(by: "epoll")
        let witness = Witness()
        let child = try Command("true").start(on: reactor, witness)
        var found = siginfo_t()
        #expect(waitid(P_PID, id_t(child.processID), &found, WEXITED | WNOWAIT) == 0)
        // A zombie takes signals, as Twisted found out: "exited but not detected".
        try? child.signal(.kill)
        #expect(reactor.turn { witness.ended })
        #expect(witness.status == .exited(0))
        #expect(throws: IOError.self) { try child.signal(.kill) }
        reactor.finish()
    }
}
