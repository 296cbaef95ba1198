// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

import Testing
import Torsion
import TorsionProcesses
import TorsionTesting

// snippet: Sorter
/// Writes words to `sort`, and prints them as they come back.
final class Sorter: ProcessProtocol {
    private var sorted = ""

    func processStarted(_ child: ChildProcess) {
        child.standardInput?.write("pear\napple\n")
        child.standardInput?.loseConnection()  // EOF: now it can sort
    }

    func dataReceived(_ bytes: RawSpan, on descriptor: Int32, of child: ChildProcess) {
        sorted += String(decoding: bytes)
    }

    func processEnded(_ status: ProcessStatus, _ child: ChildProcess) {
        print(status.isSuccess ? sorted : "\(child.command.program) \(status)")
    }
}

func sortWords(on reactor: Reactor) throws {
    try Command("sort", "-u")
        .environment(.inherited(adding: ["LC_ALL": "C"]))
        .standardInput(.stream)
        .standardOutput(.stream)
        .start(on: reactor, Sorter())
}
// snippet end

// snippet: Service
/// Runs a cache, and a server that needs it; both are started again when they end.
func startParts(_ cache: ClientEndpoint, on reactor: Reactor) -> ServiceTree {
    let tree = ServiceTree(on: reactor)
    tree.add("cache", whenEnded: .restart(RetryPolicy())) {
        ProcessService(Command("redis-server"), on: reactor) { _ in
            // It can be used when somebody can connect to it.
            reactor.retry { cache.connect(on: reactor) { Knock() } }
                .addTimeout(.seconds(10)).addCallback { _ in }
        }
    }
    tree.add("server", whenEnded: .restart(RetryPolicy())) {
        ProcessService(Command("my-server", "--cache", "\(cache)"), on: reactor)
    }
    return tree
}

/// Closes as soon as it is connected.
final class Knock: StreamProtocol {
    func connectionMade(_ transport: any StreamTransport) { transport.loseConnection() }
    func dataReceived(_ bytes: RawSpan, from transport: any StreamTransport) {}
}
// snippet end

// snippet: Lines
/// Prints what arrives, line by line.
final class ChildLog: LineProtocol {
    let lines = LineDecoder()

    func lineReceived(_ line: RawSpan, from transport: any StreamTransport) {
        print(String(decoding: line))
    }
}

func followMessages(on reactor: Reactor) throws -> ChildProcess {
    try Command("tail", "-f", "/var/log/messages")
        .standardOutput(.stream { ChildLog() })
        .standardError(.same(as: 1))
        .start(on: reactor)
}
// snippet end

func collectOutput(on reactor: Reactor) {
    // snippet: Output
    Command("git", "rev-parse", "HEAD").output(on: reactor)
        .addCallback { output in try output.requireSuccess().standardOutput }
        .addCallback { revision in print(String(decoding: revision.span)) }
        .whenFailed { error in print("no revision: \(error)") }
    // snippet end
}

func awaitOutput(on reactor: Reactor) async throws {
    // snippet: Await
    let listing = try await Command("ls", "-l").output(on: reactor, limitBytes: 65_536).value
    print(String(decoding: listing.standardOutput.span))
    // snippet end
}

func talkThroughChild(on reactor: Reactor) {
    // snippet: Endpoint
    let tunnel = ProcessEndpoint(Command("ssh", "host", "nc", "::1", "22"))
    tunnel.connect(on: reactor) { ChildLog() }
        .whenFailed { error in print("no tunnel: \(error)") }
    // snippet end
}

func showTerminal(on reactor: Reactor) throws {
    // snippet: Terminal
    let top = try Command("top").terminal(TerminalSize(rows: 40, columns: 120)) { ChildLog() }
        .start(on: reactor)
    try top.resizeTerminal(to: TerminalSize(rows: 24, columns: 80))
    top.standardInput?.write("q")
    // snippet end
}

// snippet: Keys
/// Counts keys as they are pressed, until it is `q`.
final class Keys: StreamProtocol {
    private let quit: Deferred<Int>
    private var count = 0

    init(_ quit: Deferred<Int>) { self.quit = quit }

    func dataReceived(_ bytes: RawSpan, from transport: any StreamTransport) {
        count += bytes.byteCount
        if String(decoding: bytes).contains("q") { quit.succeed(count) }
    }
}

func countKeys(on reactor: Reactor) throws -> Deferred<Int> {
    let terminal = try Terminal(on: reactor)
    try terminal.onResize { size in print("\(size.columns) columns\r") }
    let quit = Deferred<Int>(on: reactor)
    try ServerEndpoint.adopted(descriptor: terminal.descriptor).listen(on: reactor) { Keys(quit) }
    return try terminal.withRawMode { quit }
}
// snippet end

@Suite struct ProcessesPage {
    // snippet: Played
    @Test func `a sorter is played`() throws {
        try simulate("sorter", seeds: 1...10) { world in
            let host = world.host("client")
            var status: ProcessStatus?
            try host.run { reactor in
                reactor.playChildren { child in
                    child.connect(1) { ChildLog() }?.write("apple\n")
                    child.exit()
                }
                try Command("sort").standardOutput(.stream).start(on: reactor)
                    .whenOver().addCallback { status = $0 }.whenFailed { _ in }
            }
            try world.run { status != nil }
            #expect(status == .exited(0))
        }
    }
    // snippet end
}
