// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

import Glibc
import TestPrograms
import TestedBackends
import Testing
import Torsion
import TorsionProcesses

/// The two sides of a terminal without a screen: `pty(7)`.
private final class Screen {
    private(set) var user: Int32
    let program: Int32

    init() {
        user = open("/dev/ptmx", O_RDWR | O_NOCTTY | O_CLOEXEC)
        var isLocked: Int32 = 0, number: UInt32 = 0
        precondition(ioctl(user, 0x4004_5431, &isLocked) == 0)
        precondition(ioctl(user, 0x8004_5430, &number) == 0)
        program = open("/dev/pts/\(number)", O_RDWR | O_NOCTTY | O_CLOEXEC)
    }

    var isRaw: Bool {
        var mode = termios()
        precondition(tcgetattr(program, &mode) == 0)
        return mode.c_lflag & tcflag_t(ICANON | ECHO | ISIG) == 0
    }

    func resize(_ rows: UInt16, _ columns: UInt16) {
        var size = winsize(ws_row: rows, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0)
        precondition(ioctl(user, UInt(TIOCSWINSZ), &size) == 0)
    }

    func hangUp() {
        close(user)
        user = -1
    }

    deinit {
        if user >= 0 { close(user) }
        close(program)
    }
}

/// A terminal that the process has open.
@Suite struct RawModeTests {
    @Test func `its size is told, and that of one that knows none is the usual`() throws {
        let reactor = try Reactor.turned(by: "epoll")
        let screen = Screen()
        let terminal = try Terminal(descriptor: screen.program, on: reactor)
        #expect(try terminal.size == TerminalSize())
        screen.resize(50, 132)
        #expect(try terminal.size == TerminalSize(rows: 50, columns: 132))
        reactor.finish()
    }

    @Test func `raw mode is entered, and left by the object's release`() throws {
        let reactor = try Reactor.turned(by: "epoll")
        let screen = Screen()
        do {
            let terminal = try Terminal(descriptor: screen.program, on: reactor)
            #expect(!screen.isRaw && !terminal.isRaw)
            try terminal.makeRaw()
            try terminal.makeRaw()
            #expect(screen.isRaw && terminal.isRaw)
            terminal.restore()
            terminal.restore()
            #expect(!screen.isRaw && !terminal.isRaw)
            try terminal.makeRaw()
            #expect(screen.isRaw)
        }
        #expect(!screen.isRaw)
        reactor.finish()
    }

    @Test func `the last of several objects of one terminal restores it`() throws {
        let reactor = try Reactor.turned(by: "epoll")
        let screen = Screen()
        let first = try Terminal(descriptor: screen.program, on: reactor)
        let second = try Terminal(descriptor: screen.program, on: reactor)
        try first.makeRaw()
        try second.makeRaw()
        first.restore()
        #expect(screen.isRaw)
        second.restore()
        #expect(!screen.isRaw)
        reactor.finish()
    }

    @Test func `raw mode lasts as long as a Deferred, or a task, however it ends`() throws {
        struct Wanted: Error {}
        let reactor = try Reactor.turned(by: "epoll")
        let screen = Screen()
        let terminal = try Terminal(descriptor: screen.program, on: reactor)
        let work = Deferred<Int>(on: reactor)
        let whole = try terminal.withRawMode { work }
        #expect(screen.isRaw)
        work.succeed(5)
        #expect(try reactor.wait(for: whole) == 5)
        #expect(!screen.isRaw)
        let failing = Deferred<Int>(on: reactor)
        let failed = try terminal.withRawMode { failing }
        failing.fail(Wanted())
        #expect(throws: Wanted.self) { try reactor.wait(for: failed) }
        #expect(!screen.isRaw)
        #expect(throws: Wanted.self) {
            _ = try terminal.withRawMode { () throws -> Deferred<Int> in throw Wanted() }
        }
        #expect(!screen.isRaw)
        var seen = false
        let task = reactor.spawn {
            try await terminal.withRawMode {
                seen = screen.isRaw
                throw Wanted()
            }
        }
        #expect(throws: Wanted.self) { try reactor.wait(for: task) }
        #expect(seen && !screen.isRaw)
        reactor.finish()
    }

    @Test func `raw modes within each other, and overlapping ones, end with the last`() throws {
        let reactor = try Reactor.turned(by: "epoll")
        let screen = Screen()
        let terminal = try Terminal(descriptor: screen.program, on: reactor)
        let works = [Deferred<Int>(on: reactor), Deferred<Int>(on: reactor)]
        let wholes = try works.map { work in try terminal.withRawMode { work } }
        works[0].succeed(1)
        #expect(try reactor.wait(for: wholes[0]) == 1)
        #expect(screen.isRaw)
        terminal.restore()
        #expect(screen.isRaw, "the other goes on")
        works[1].succeed(2)
        #expect(try reactor.wait(for: wholes[1]) == 2)
        #expect(!screen.isRaw)
        try terminal.makeRaw()
        let within = try terminal.withRawMode { Deferred.succeeded(3, on: reactor) }
        #expect(try reactor.wait(for: within) == 3)
        #expect(screen.isRaw, "it was raw before")
        terminal.restore()
        #expect(!screen.isRaw)
        reactor.finish()
    }

    @Test func `more terminals than are guarded are refused, and none is left raw`() throws {
        let reactor = try Reactor.turned(by: "epoll")
        let screens = (0..<24).map { _ in Screen() }
        let terminals = try screens.map { screen in
            try Terminal(descriptor: screen.program, on: reactor)
        }
        var refusals = 0
        for terminal in terminals {
            do throws(IOError) { try terminal.makeRaw() } catch {
                #expect(error.code == .tooManyOpenFiles)
                refusals += 1
            }
        }
        #expect(8...24 ~= refusals, "other tests may have some")
        for terminal in terminals { terminal.restore() }
        #expect(screens.allSatisfy { !$0.isRaw })
        reactor.finish()
    }

    @Test func `the end of the run restores it`() throws {
        let screen = Screen()
        var kept: Terminal?
        try Reactor.run(signals: .ignore) { reactor in
            let terminal = try Terminal(descriptor: screen.program, on: reactor)
            kept = terminal
            try terminal.makeRaw()
            #expect(screen.isRaw)
            reactor.stop()
        }
        #expect(!screen.isRaw && kept?.isRaw == false)
    }

    @Test func `what is no terminal is refused`() throws {
        let reactor = try Reactor.turned(by: "epoll")
        let null = open("/dev/null", O_RDWR | O_CLOEXEC)
        defer { close(null) }
        let error = #expect(throws: IOError.self) {
            try Terminal(descriptor: null, on: reactor)
        }
        #expect(
            error?.description
                == "cannot open descriptor \(null): inappropriate ioctl for device (ENOTTY)")
        let closed = #expect(throws: IOError.self) {
            try Terminal(descriptor: 19_999, on: reactor)
        }
        #expect(closed?.code == .badDescriptor)
        reactor.finish()
    }

    @Test func `one that was hung up says so, and is left in peace`() throws {
        let reactor = try Reactor.turned(by: "epoll")
        let screen = Screen()
        let terminal = try Terminal(descriptor: screen.program, on: reactor)
        try terminal.makeRaw()
        screen.hangUp()
        #expect(throws: IOError.self) { try terminal.size }
        terminal.restore()
        let error = #expect(throws: IOError.self) { try terminal.makeRaw() }
        #expect(error?.operation == .configure)
        reactor.finish()
    }

    @Test func `without services a new size cannot be told`() throws {
        let reactor = try Reactor.turned(by: "epoll")
        let screen = Screen()
        let terminal = try Terminal(descriptor: screen.program, on: reactor)
        let error = #expect(throws: IOError.self) { try terminal.onResize { _ in } }
        #expect(error?.operation == .signal)
        reactor.finish()
    }

    @Test func `a new size is told once, until the object is released`() async {
        await #expect(processExitsWith: .success) {
            try resizeIsTold()
            exit(0)
        }
    }

    /// Runs the program that makes its terminal raw between two looks at the terminal's flags.
    private func run(_ ending: String) throws -> (before: String, rest: String, output: String) {
        let reactor = try Reactor.turned(by: "epoll")
        let witness = Witness()
        let script = "stty -g; \"$0\" \"$1\"; echo; echo \"status $?\"; stty -g"
        let program = Program.folder + "/RawTerminal"
        try Command("sh", "-c", script, program, ending).terminal()
            .environment(.inherited(adding: ["SWIFT_BACKTRACE": "enable=no"]))
            .start(on: reactor, witness)
        #expect(reactor.turn { witness.ended })
        reactor.finish()
        let text = witness.texts[0] ?? ""
        let lines = text.split(whereSeparator: \.isNewline).map(String.init)
        return (lines.first ?? "first", lines.last ?? "last", text)
    }

    private static let endings =
        ["stop", "release", "exit", "trap", "again", "1", "3", "6", "14", "15", "2", "16", "29"]
        // The last two are of real time: `signal(7)`.
        + ["30", "36", "64"] + (isSanitized ? [] : ["11"])

    @Test(arguments: endings)
    func `the flags are as they were, however the process ends`(ending: String) throws {
        let (before, after, output) = try run(ending)
        #expect(output.contains("raw"), "\(output)")
        #expect(before == after && before.contains(":"), "\(output)")
    }

    @Test func `stopped, it is as it was; going on, it is raw again`() throws {
        let reactor = try Reactor.turned(by: "epoll")
        let witness = Witness()
        let program = Program.folder + "/RawTerminal"
        // A shell with job control.
        let script = "set -m; stty -g; \"$0\" suspend; stty -g; fg >/dev/null; stty -g"
        try Command("sh", "-c", script, program).terminal().start(on: reactor, witness)
        #expect(reactor.turn { witness.ended })
        reactor.finish()
        let text = witness.texts[0] ?? ""
        let flags = text.split(whereSeparator: \.isNewline).filter { $0.contains(":") }
        #expect(text.contains("raw") && text.contains("again"), "\(text)")
        #expect(flags.count == 3 && Set(flags).count == 1, "\(text)")
    }
}

private func resizeIsTold() throws {
    let screen = Screen()
    var sizes: [TerminalSize] = []
    try Reactor.run(signals: .ignore) { reactor in
        let terminal = try Terminal(descriptor: screen.program, on: reactor)
        try terminal.onResize { size in
            sizes.append(size)
            // It is the same still.
            kill(getpid(), SIGWINCH)
            reactor.callLater(.milliseconds(20)) {
                withExtendedLifetime(terminal) { _ = reactor.stop() }
            }
        }
        screen.resize(10, 20)
        // The kernel tells only the group of whom the terminal controls.
        kill(getpid(), SIGWINCH)
    }
    precondition(sizes == [TerminalSize(rows: 10, columns: 20)], "\(sizes)")
}
