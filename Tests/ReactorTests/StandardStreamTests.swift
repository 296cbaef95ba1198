// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

import Glibc
import TestPrograms
import TestedBackends
import Testing
import Torsion
@_spi(Backend) import TorsionCore

/// Answers with what it hears, and ends when its peer has.
private final class Echo: HalfCloseableProtocol {
    var loss: ConnectionLoss?

    func dataReceived(_ bytes: RawSpan, from transport: any StreamTransport) {
        transport.write(bytes)
    }

    func readConnectionLost(from transport: any StreamTransport) { transport.loseWriteConnection() }
    func writeConnectionLost(from transport: any StreamTransport) {}

    func connectionLost(_ why: ConnectionLoss, from transport: any StreamTransport) { loss = why }
}

/// A terminal without a screen: `pty(7)`.
private struct Terminal {
    /// What the user's side reads and writes.
    let master: Int32
    /// The program's side.
    let slave: Int32

    init() {
        master = open("/dev/ptmx", O_RDWR | O_NOCTTY)
        // `unlockpt(3)` and `ptsname(3)`, which Swift's Glibc lacks: TIOCSPTLCK and TIOCGPTN.
        var isLocked: Int32 = 0, number: UInt32 = 0
        precondition(master >= 0 && ioctl(master, 0x4004_5431, &isLocked) == 0)
        precondition(ioctl(master, 0x8004_5430, &number) == 0)
        slave = open("/dev/pts/\(number)", O_RDWR | O_NOCTTY)
        var mode = termios()
        precondition(slave >= 0 && tcgetattr(slave, &mode) == 0)
        // What is typed is not shown by the terminal itself.
        mode.c_lflag &= ~tcflag_t(ECHO)
        precondition(tcsetattr(slave, TCSANOW, &mode) == 0)
    }

    func type(_ text: String) { writeAll(Array(text.utf8), to: master) }
}

private func writeAll(_ bytes: [UInt8], to descriptor: Int32) {
    precondition(write(descriptor, bytes, bytes.count) == bytes.count, "write: errno \(errno)")
}

private func readSome(_ descriptor: Int32) -> [UInt8] {
    [UInt8](unsafeUninitializedCapacity: 65_536) { buffer, count in
        count = max(0, read(descriptor, buffer.baseAddress, buffer.count))
    }
}

private func isBlocking(_ descriptor: Int32) -> Bool {
    fcntl(descriptor, F_GETFL) & O_NONBLOCK == 0
}

private let pattern: [UInt8] = (0..<1_000_000).map {
    UInt8(truncatingIfNeeded: $0 &* 2_654_435_761 >> 13)
}

/// Streams of the kinds that standard input and output may be.
@Suite struct StandardStreamTests {
    private let folder = TemporaryFolder()

    private func serve(
        _ reactor: Reactor, input: Int32, output: Int32, _ proto: any StreamProtocol
    ) throws {
        try reactor.start()
        reactor.adopt(try reactor.backend.open(input: input, output: output), proto)
    }

    @Test(arguments: backendNames)
    func `a terminal is read by lines and written to, until its user ends it`(name: String) throws {
        let reactor = try Reactor.turned(by: name)
        let terminal = Terminal(), user = Witness()
        // As a shell gives it: two numbers for one open file, which the shell has as well.
        try serve(reactor, input: dup(terminal.slave), output: dup(terminal.slave), user)
        #expect(isBlocking(terminal.slave), "the shell's terminal became non-blocking")
        user.transport?.write("name? ")
        #expect(readSome(terminal.master).elementsEqual("name? ".utf8))
        terminal.type("torsion\n")
        #expect(reactor.turn { user.text == "torsion\n" })
        // Ctrl-D at the beginning of a line.
        terminal.type("\u{4}")
        #expect(reactor.turn { user.loss == .closedByPeer })
        #expect(isBlocking(terminal.slave))
        close(terminal.slave)
        close(terminal.master)
        reactor.shutDown()
    }

    @Test(arguments: backendNames)
    func `a terminal under one number gets its flags back, too`(name: String) throws {
        let reactor = try Reactor.turned(by: name)
        let terminal = Terminal(), user = Witness()
        let shared = dup(terminal.slave)
        try serve(reactor, input: shared, output: shared, user)
        terminal.type("a\n")
        #expect(reactor.turn { user.text == "a\n" })
        user.transport?.loseConnection()
        #expect(reactor.turn { user.loss == .closedLocally })
        #expect(isBlocking(terminal.slave))
        close(terminal.slave)
        close(terminal.master)
        reactor.shutDown()
    }

    @Test(arguments: backendNames)
    func `a terminal that is closed ends the stream`(name: String) throws {
        let reactor = try Reactor.turned(by: name)
        let terminal = Terminal(), user = Witness()
        try serve(reactor, input: dup(terminal.slave), output: terminal.slave, user)
        terminal.type("last\n")
        #expect(reactor.turn { user.text == "last\n" })
        close(terminal.master)
        // pty(7): read fails with EIO, which is its way to say the end.
        #expect(reactor.turn { user.loss == .closedByPeer })
        reactor.shutDown()
    }

    @Test(arguments: backendNames)
    func `a regular file is copied to another`(name: String) throws {
        let reactor = try Reactor.turned(by: name)
        let source = open(folder.file("in"), O_CREAT | O_RDWR, 0o600)
        writeAll(pattern, to: source)
        lseek(source, 0, SEEK_SET)
        let echo = Echo()
        let output = open(folder.file("out"), O_CREAT | O_WRONLY, 0o600)
        try serve(reactor, input: source, output: output, echo)
        #expect(reactor.turn { echo.loss != nil })
        #expect(echo.loss == .closedByPeer)
        let copy = open(folder.file("out"), O_RDONLY)
        var found: [UInt8] = []
        while case let piece = readSome(copy), !piece.isEmpty { found += piece }
        close(copy)
        #expect(found == pattern)
        reactor.shutDown()
    }

    @Test(arguments: backendNames)
    func `an empty input ends at once, and a full disk is an error`(name: String) throws {
        let reactor = try Reactor.turned(by: name)
        let ended = Witness(), full = Witness()
        try serve(
            reactor, input: open("/dev/null", O_RDONLY), output: open("/dev/null", O_WRONLY), ended)
        try serve(
            reactor, input: open("/dev/zero", O_RDONLY), output: open("/dev/full", O_WRONLY), full)
        full.transport?.pauseProducing()
        full.transport?.write("no room")
        #expect(reactor.turn { ended.loss != nil && full.loss != nil })
        #expect(ended.loss == .closedByPeer)
        guard case .failed(let error) = full.loss else {
            Issue.record("\(full.loss!)")
            return
        }
        #expect(error.code == .noSpace && error.operation == .write)
        reactor.shutDown()
    }

    @Test(arguments: backendNames)
    func `a pipe that is read late gets everything`(name: String) throws {
        let reactor = try Reactor.turned(by: name)
        var request: [Int32] = [0, 0], answer: [Int32] = [0, 0]
        #expect(pipe(&request) == 0 && pipe(&answer) == 0)
        let writer = Witness()
        try serve(reactor, input: request[0], output: answer[1], writer)
        writer.transport?.write(pattern)
        writer.transport?.loseConnection()
        var found: [UInt8] = []
        #expect(fcntl(answer[0], F_SETFL, O_NONBLOCK) == 0)
        #expect(
            reactor.turn {
                found += readSome(answer[0])
                return writer.loss != nil && found.count == pattern.count
            })
        #expect(found == pattern && writer.loss == .closedLocally)
        close(request[1])
        close(answer[0])
        reactor.shutDown()
    }

    @Test(arguments: backendNames)
    func `if one descriptor is not open, the other stays its owner's, unchanged`(
        name: String
    ) throws {
        let reactor = try Reactor.turned(by: name)
        try reactor.start()
        var ends: [Int32] = [0, 0]
        #expect(pipe(&ends) == 0)
        let error = #expect(throws: IOError.self) {
            try reactor.backend.open(input: ends[0], output: 19_999)
        }
        #expect(error?.code == .badDescriptor && error?.operation == .open)
        #expect(isBlocking(ends[0]) && reactor.statistics.openHandles == 0)
        close(ends[0])
        close(ends[1])
        reactor.shutDown()
    }

    // MARK: The endpoint, in a process whose standard streams the test may replace

    @Test(arguments: BackendChoice.tested.indices)
    func `standard input and output serve one connection`(index: Int) async {
        // An exit test captures nothing, so that each backend has its own.
        switch index {
        case 0: await #expect(processExitsWith: .success) { try serveStandardStreams(.tested[0]) }
        case 1: await #expect(processExitsWith: .success) { try serveStandardStreams(.tested[1]) }
        default: await #expect(processExitsWith: .success) { try serveStandardStreams(.tested[2]) }
        }
    }
}

private func serveStandardStreams(_ backend: BackendChoice) throws {
    var request: [Int32] = [0, 0], answer: [Int32] = [0, 0]
    precondition(pipe(&request) == 0 && pipe(&answer) == 0)
    precondition(dup2(request[0], 0) == 0 && dup2(answer[1], 1) == 1)
    close(request[0])
    close(answer[1])
    let reactor = Reactor(backend: backend, services: nil)
    let echo = Echo()
    var isInline = true
    let port = try ServerEndpoint(parsing: "stdio:").listen(on: reactor) {
        precondition(!isInline, "served inside listen")
        return echo
    }
    isInline = false
    precondition("\(port.localAddress)" == "stdio:")
    writeAll(Array("hello".utf8), to: request[1])
    close(request[1])
    precondition(reactor.turn { echo.loss != nil })
    precondition(echo.loss == .closedByPeer, "\(echo.loss!)")
    precondition(readSome(answer[0]).elementsEqual("hello".utf8))
    // The reader sees the end.
    precondition(readSome(answer[0]).isEmpty)
    // A number that is free would be the next socket's, into which the next `print` would go.
    precondition(open("/dev/null", O_RDONLY) > 2, "standard streams are left closed")
    reactor.shutDown()
    exit(0)
}
