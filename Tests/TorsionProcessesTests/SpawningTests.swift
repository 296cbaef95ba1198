// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

import CCallFaults
import Glibc
import TestPrograms
import TestedBackends
import Testing
import Torsion
import TorsionProcesses

@Suite struct SpawningTests {
    private func run(
        _ command: Command, on name: String = "epoll", _ witness: Witness = Witness()
    ) throws -> Witness {
        let reactor = try Reactor.turned(by: name)
        try command.start(on: reactor, witness)
        #expect(reactor.turn { witness.ended })
        reactor.finish()
        return witness
    }

    @Test(arguments: backendNames)
    func `a child is started, heard, seen to exit, and over, once each`(name: String) throws {
        let shell = Command("sh", "-c", "echo out; echo err >&2; exit 3")
            .standardOutput(.stream).standardError(.stream)
        let witness = try run(shell, on: name)
        #expect(witness.events.first == "started")
        #expect(witness.events.last == "ended")
        #expect(witness.events.count { $0 == "exited" } == 1)
        #expect(witness.texts == [1: "out\n", 2: "err\n"])
        #expect(witness.status == .exited(3))
    }

    @Test func `the environment is inherited, changed, or made anew`() throws {
        setenv("TORSION_TEST_OLD", "old", 1)
        func lines(_ environment: ChildEnvironment) throws -> Set<String> {
            let command = Command("/usr/bin/env").environment(environment).standardOutput(.stream)
            return Set(try run(command).output.split(separator: "\n").map(String.init))
        }
        #expect(try lines(.inherited).contains("TORSION_TEST_OLD=old"))
        let changed = try lines(
            .inherited(adding: ["TORSION_TEST_OLD": "new", "X": "a=b"], removing: ["HOME"]))
        #expect(changed.isSuperset(of: ["TORSION_TEST_OLD=new", "X=a=b"]))
        #expect(!changed.contains { $0.hasPrefix("HOME=") || $0 == "TORSION_TEST_OLD=old" })
        #expect(try lines(.only(["A": "1", "B": ""])) == ["A=1", "B="])
        #expect(try lines(.only([:])).isEmpty)
    }

    @Test func `a variable without a name, or with an equals sign in it, is refused`() throws {
        let reactor = try Reactor.turned(by: "epoll")
        for environment in [ChildEnvironment.only(["": "x"]), .inherited(adding: ["A=B": "x"])] {
            let error = #expect(throws: IOError.self) {
                try Command("true").environment(environment).start(on: reactor)
            }
            #expect(
                error?.description
                    == "cannot spawn true, with a variable whose name is empty or has an equals"
                    + " sign: invalid argument (EINVAL)")
        }
        reactor.finish()
    }

    @Test func `arguments arrive as they are, and the working directory is another`() throws {
        let folder = TemporaryFolder()
        let script = "printf '%s|' \"$@\"; pwd"
        let command = Command("sh", "-c", script, "sh", "a b", "", "$HOME", "ä").workingDirectory(
            folder.path
        ).standardOutput(.stream)
        #expect(try run(command).output == "a b||$HOME|ä|\(folder.path)\n")
    }

    @Test func `each of ten descriptors is where it was put`() throws {
        let folder = TemporaryFolder()
        var command = Command("sh", "-c", "for n in 3 4 5 6 7 8 9; do cat <&$n; done; cat")
            .standardOutput(.stream)
        var own: [Int32] = []
        for number in Int32(3)...9 {
            let path = folder.file("\(number)", "\(number)")
            own.append(open(path, O_RDONLY | O_CLOEXEC))
        }
        // Each gets the one that another had in order, and standard input its own file.
        for (index, descriptor) in own.enumerated() {
            command = command.descriptor(Int32(9 - index), .inherited(descriptor))
        }
        command = command.standardInput(.file(folder.file("0", "input")))
        #expect(try run(command).output == "9876543input")
        for descriptor in own { close(descriptor) }
    }

    @Test(arguments: backendNames)
    func `a child has no descriptor that it was not given`(name: String) throws {
        // One that is not closed on exec, as other libraries leave them open.
        let stray = dup(0)
        defer { close(stray) }
        let plain = Command("ls", "/proc/self/fd").standardOutput(.stream)
        // The last is the folder itself.
        #expect(try run(plain, on: name).output == "0\n1\n2\n3\n")
        let gaps = plain.descriptor(7, .null).standardError(.closed)
        #expect(try run(gaps, on: name).output == "0\n1\n2\n7\n")
    }

    @Test func `files are read, replaced and appended to, and one may be two descriptors`() throws {
        let folder = TemporaryFolder()
        let path = folder.file("log", "old")
        let script = "echo one; echo two >&2"
        _ = try run(
            Command("sh", "-c", script).standardOutput(.file(path)).standardError(.same(as: 1)))
        #expect(try run(Command("cat", path).standardOutput(.stream)).output == "one\ntwo\n")
        _ = try run(Command("echo", "three").standardOutput(.appending(to: path)))
        let read = Command("cat").standardInput(.file(path)).standardOutput(.stream)
        #expect(try run(read).output == "one\ntwo\nthree\n")
    }

    @Test(arguments: backendNames)
    func `a start that fails names the program and the cause, and leaves nothing`(
        name: String
    ) throws {
        let folder = TemporaryFolder()
        let text = folder.file("text", "echo hello\n")
        let script = try folder.program("script", "#!/no/such/interpreter\n")
        let garbage = try folder.program("garbage", "\u{1}\u{2}\u{3}")
        let missing = "no such file or directory (ENOENT)"
        let expected: [(Command, String)] = [
            (Command("no-such-program"), "no-such-program: \(missing)"),
            (Command("/no/such/program"), "/no/such/program: \(missing)"),
            (Command(text), "\(text): permission denied (EACCES)"),
            (Command(script), "\(script), whose interpreter is missing: \(missing)"),
            (Command(garbage), "\(garbage): exec format error (ENOEXEC)"),
            (Command(folder.path), "\(folder.path): permission denied (EACCES)"),
            (
                Command("true").workingDirectory("/no/such/folder"),
                "true in the working directory /no/such/folder: \(missing)"
            ),
            (
                Command("true").workingDirectory(text),
                "true in the working directory \(text): not a directory (ENOTDIR)"
            ),
            (
                Command("true").standardInput(.file("/no/such/file")),
                "true with descriptor 0 at /no/such/file: \(missing)"
            ),
            (
                Command("true").descriptor(4, .inherited(4_000)),
                "true with descriptor 4000 of this process: bad file descriptor (EBADF)"
            ),
            (
                Command("true", String(repeating: "x", count: 200_000)),
                "true: argument list too long (E2BIG)"
            ),
            (
                Command("true", "a\0b"),
                "true, with a zero byte in a word: invalid argument (EINVAL)"
            ),
        ]
        let reactor = try Reactor.turned(by: name)
        try reactor.start()
        for (command, sentence) in expected {
            let streams = command.standardOutput(.stream).standardError(.stream)
            let error = #expect(throws: IOError.self) { try streams.start(on: reactor, Witness()) }
            #expect(error?.description == "cannot spawn \(sentence)")
            #expect(reactor.statistics.openHandles == 0)
        }
        reactor.finish()
    }

    @Test(arguments: backendNames)
    func `a child that exits before the first turn is not missed`(name: String) throws {
        let reactor = try Reactor.turned(by: name)
        let witness = Witness()
        let child = try Command("echo", "quick").standardOutput(.stream).start(on: reactor, witness)
        // Until it is a zombie, without a turn.
        var found = siginfo_t()
        #expect(waitid(P_PID, id_t(child.processID), &found, WEXITED | WNOWAIT) == 0)
        #expect(!witness.ended)
        #expect(reactor.turn { witness.ended })
        #expect(witness.output == "quick\n" && witness.status == .exited(0))
        #expect(throws: IOError.self) { try child.signal(.terminate) }
        #expect(throws: IOError.self) { try child.signalGroup(.terminate) }
        reactor.finish()
    }

    @Test(arguments: backendNames)
    func `many children at once are all heard and reaped`(name: String) throws {
        let reactor = try Reactor.turned(by: name)
        let count = TestScope.isWhole ? 500 : 60
        var witnesses: [Witness] = []
        for index in 0..<count {
            let witness = Witness()
            witnesses.append(witness)
            try Command("sh", "-c", "echo \(index); exit \(index % 200)").standardOutput(.stream)
                .start(on: reactor, witness)
        }
        #expect(reactor.turn { witnesses.allSatisfy(\.ended) })
        for (index, witness) in witnesses.enumerated() {
            #expect(witness.output == "\(index)\n")
            #expect(witness.status == .exited(Int32(index % 200)))
        }
        reactor.finish()
    }

    @Test func `what the start's protocol throws kills the child`() throws {
        struct Refusal: Error {}
        let reactor = try Reactor.turned(by: "epoll")
        var reports: [String] = []
        reactor.unhandledError = { reports.append($0.context) }
        let first = Witness(), second = Witness()
        first.whenStarted = { _ in throw Refusal() }
        try Command("sleep", "100").standardOutput(.stream).start(on: reactor, first)
        second.make = { number in
            if number == 2 { throw Refusal() }
            return nil
        }
        try Command("sleep", "100").standardOutput(.stream).standardError(.stream)
            .start(on: reactor, second)
        #expect(reactor.turn { first.ended && second.ended })
        #expect(first.status == .signalled(.kill) && second.status == .signalled(.kill))
        #expect(reports == ["starting sleep", "starting sleep"])
        #expect(second.events.first == "exited", "it was never started")
        reactor.finish()
    }

    @Test func `whatever call fails for want of descriptors, nothing is left`() async {
        await #expect(processExitsWith: .success) {
            let reactor = try Reactor.turned(by: "epoll")
            try reactor.start()
            var limit = rlimit()
            precondition(getrlimit(__rlimit_resource_t(RLIMIT_NOFILE.rawValue), &limit) == 0)
            // The kernel gives the lowest number that is free: without gaps the limit says how many
            // more there may be.
            while let highest = (0..<4_096).last(where: { fcntl(Int32($0), F_GETFD) >= 0 }) {
                let next = open("/dev/null", O_RDONLY | O_CLOEXEC)
                guard next > highest else { continue }
                close(next)
                break
            }
            let before = openDescriptorCount()
            let command = Command("cat").standardInput(.stream).standardOutput(.stream)
                .standardError(.socket).descriptor(5, .inputStream)
            var failures: Set<String> = []
            var succeeded = false
            var room: rlim_t = 0
            while !succeeded {
                let highest = (0..<4_096).last { fcntl(Int32($0), F_GETFD) >= 0 } ?? 0
                limit.rlim_cur = rlim_t(highest + 1) + room
                setrlimit(__rlimit_resource_t(RLIMIT_NOFILE.rawValue), &limit)
                let witness = Witness()
                do {
                    let child = try command.start(on: reactor, witness)
                    for number in [Int32(0), 2, 5] {
                        child.transport(of: number)?.loseConnection()
                    }
                    precondition(reactor.turn { witness.ended })
                    succeeded = true
                } catch let error as IOError {
                    failures.insert(error.function)
                    precondition(error.code == .tooManyOpenFiles, "\(error)")
                    precondition("\(error)".contains("cat") || error.operation != .spawn)
                }
                precondition(hasNoMoreDescriptors(than: before), "\(failures)")
                precondition(!hasChildren(), "\(failures)")
                precondition(reactor.statistics.openHandles == 0)
                room += 1
                precondition(room < 64)
            }
            precondition(
                failures.isSuperset(of: ["pipe2", "socketpair", "pidfd_open"]), "\(failures)")
            reactor.finish()
            exit(0)
        }
    }

    @Test(.disabled(if: isAddressSanitized))
    func `a process that the kernel refuses is an error of the start`() async {
        await #expect(processExitsWith: .success) {
            let reactor = try Reactor.turned(by: "epoll")
            try reactor.start()
            let before = openDescriptorCount()
            // clone3(2), and what glibc falls back to: for want of processes.
            #if arch(x86_64)
            let calls = [435, 56]
            #else
            let calls = [435, 220]
            #endif
            for call in calls { precondition(torsion_refuse_call(call, EAGAIN) == 0) }
            for _ in 0..<10 {
                do throws(IOError) {
                    try Command("cat").standardInput(.stream).standardOutput(.stream)
                        .start(on: reactor)
                    exit(1)
                } catch {
                    precondition(error.code == .wouldBlock && error.function == "posix_spawn")
                    precondition("\(error)".hasPrefix("cannot spawn cat: "), "\(error)")
                }
            }
            precondition(hasNoMoreDescriptors(than: before))
            reactor.finish()
            exit(0)
        }
    }

    @Test func `a child whose exit cannot be watched is killed, and waited for`() async {
        await #expect(processExitsWith: .success) {
            let reactor = try Reactor.turned(by: "epoll")
            try reactor.start()
            let before = openDescriptorCount()
            let command = Command("sleep", "1000").standardInput(.stream).standardOutput(.stream)
            // The pidfd is the only descriptor that is watched before a stream reads.
            for _ in 0..<10 {
                torsion_fail_watches(ENOSPC, 0, 1)
                do throws(IOError) {
                    try command.start(on: reactor)
                    exit(1)
                } catch {
                    precondition(error.operation == .watch && error.code == .noSpace, "\(error)")
                }
            }
            precondition(hasNoMoreDescriptors(than: before) && !hasChildren())
            precondition(reactor.statistics.openHandles == 0)
            reactor.finish()
            exit(0)
        }
    }

    @Test func `a start costs the same, whatever this process holds`() async {
        guard TestScope.isWhole else { return }
        let result = await #expect(
            processExitsWith: .success, observing: [\.standardOutputContent]
        ) {
            let reactor = try Reactor.turned(by: "epoll")
            // The least of many: whatever else the machine does makes a start longer, never shorter.
            func cost() throws -> Duration {
                var over = 0
                let clock = ContinuousClock()
                var least = Duration.seconds(60)
                for round in 1...100 {
                    let time = try clock.measure {
                        try Command("true").start(on: reactor).whenOver()
                            .addCallback { _ in over += 1 }.whenFailed { _ in }
                    }
                    least = min(least, time)
                    precondition(reactor.turn { over == round })
                }
                return least
            }
            let few = [UInt8](repeating: 1, count: 10 << 20)
            let small = try cost()
            let memory = [UInt8](repeating: 1, count: 1 << 30)
            let large = try cost()
            print(
                "a start takes \(small) beside \(few.count) bytes, \(large) beside \(memory.count)")
            fflush(nil)
            precondition(large < small * 3)
            reactor.finish()
            exit(0)
        }
        print(String(decoding: result?.standardOutputContent ?? [], as: UTF8.self))
    }

    @Test func `where children are not kept as zombies the start says so`() async {
        await #expect(processExitsWith: .success) {
            signal(SIGCHLD, SIG_IGN)
            let reactor = try Reactor.turned(by: "epoll")
            do {
                try Command("true").start(on: reactor)
                exit(1)
            } catch {
                let sentence = ", as this process ignores SIGCHLD and would never know how it ended"
                precondition("\(error)".contains(sentence), "\(error)")
            }
            reactor.finish()
            exit(0)
        }
    }

    @Test func `children leave no zombie, no descriptor and no thread`() async {
        await #expect(processExitsWith: .success) {
            let reactor = try Reactor.turned(by: "epoll")
            try reactor.start()
            let before = openDescriptorCount(), threads = threadCount()
            let count = TestScope.isWhole ? 10_000 : 300
            var over = 0
            for start in stride(from: 0, to: count, by: 50) {
                for _ in start..<start + 50 {
                    Command("true").output(on: reactor).addCallback { _ in over += 1 }
                        .whenFailed { error in fatalError("\(error)") }
                }
                precondition(reactor.turn { over == start + 50 })
                precondition(threadCount() <= threads + 2, "\(threadCount()) threads")
            }
            precondition(!hasChildren())
            precondition(hasNoMoreDescriptors(than: before))
            reactor.finish()
            exit(0)
        }
    }
}
