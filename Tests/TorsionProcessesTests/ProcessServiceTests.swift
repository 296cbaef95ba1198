// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

import Glibc
import TestedBackends
import Testing
import Torsion
import TorsionProcesses
import TorsionTesting

/// Children as parts of a tree.
@Suite struct ProcessServiceTests {
    /// Notes what becomes of the children of one tree.
    private final class Notes {
        var lines: [String] = []
        var statuses: [ProcessStatus] = []
        var reports: [String] = []
        var whenNoted: (String) -> Void = { _ in }

        func add(_ line: String) {
            lines.append(line)
            whenNoted(line)
        }
    }

    /// Notes a child's lines behind its name, its start and its end.
    private final class Noting: ProcessProtocol {
        let name: String
        let notes: Notes
        private var text = ""

        init(_ name: String, _ notes: Notes) {
            self.name = name
            self.notes = notes
        }

        func processStarted(_ child: ChildProcess) { notes.add("\(name) runs") }

        func dataReceived(_ bytes: RawSpan, on descriptor: Int32, of child: ChildProcess) {
            text += String(decoding: bytes)
            while let end = text.firstIndex(of: "\n") {
                notes.add("\(name): \(text[..<end])")
                text.removeSubrange(...end)
            }
        }

        func processEnded(_ status: ProcessStatus, _ child: ChildProcess) {
            notes.statuses.append(status)
            notes.add("\(name) \(status)")
        }
    }

    private static let patient =
        "trap 'echo asked; exit 0' TERM; echo ready; while :; do sleep 0.01; done"
    private static let deaf = "trap '' TERM; echo ready; while :; do sleep 1000; done"

    private func shell(_ script: String) -> Command {
        Command("sh", "-c", script).standardOutput(.stream)
    }

    /// Runs a tree until its reactor stops, with a limit.
    private func run(
        on name: String, _ notes: Notes, _ body: @escaping (Reactor, ServiceTree) throws -> Void
    ) throws {
        let backend = try BackendChoice.named(name, among: BackendChoice.tested)
        let reactor = Reactor(backend: backend, services: UVServices.make)
        try reactor.run(signals: .ignore) { reactor in
            reactor.unhandledError = { notes.reports.append("\($0.context): \($0.error)") }
            let limit = reactor.callLater(.seconds(20)) {
                Issue.record("the test takes too long: \(notes.lines)")
                reactor.stop(within: .zero)
            }
            reactor.addTrigger(.before, .shutdown) { _ = limit.cancel() }
            let tree = ServiceTree(on: reactor)
            try body(reactor, tree)
            reactor.addTrigger(.after, .shutdown) { tree.checkInvariants() }
        }
        notes.whenNoted = { _ in }
        #expect(reactor.statistics.openHandles == 0)
    }

    /// Ready when the child has printed a line.
    private func whenPrinted(
        _ line: String, _ notes: Notes, on reactor: Reactor
    ) -> ProcessService.Readiness {
        { _ in
            let deferred = Deferred<Void>(on: reactor)
            let before = notes.whenNoted
            notes.whenNoted = { seen in
                before(seen)
                if seen == line, deferred.isPending { deferred.succeed() }
            }
            return deferred
        }
    }

    @Test(arguments: backendNames)
    func `children are started in order, each when the one before is ready, and asked in reverse`(
        name: String
    ) throws {
        let notes = Notes()
        try run(on: name, notes) { reactor, tree in
            for part in ["a", "b", "c"] {
                tree.add(part) {
                    ProcessService(
                        shell(Self.patient), on: reactor, Noting(part, notes),
                        whenReady: whenPrinted("\(part): ready", notes, on: reactor))
                }
            }
            tree.start().addCallback { () -> Void in
                #expect(tree.runningServices == ["a", "b", "c"])
                reactor.stop()
            }.ignore()
        }
        #expect(
            notes.lines == [
                "a runs", "a: ready", "b runs", "b: ready", "c runs", "c: ready",
                "c: asked", "c exited with 0", "b: asked", "b exited with 0", "a: asked",
                "a exited with 0",
            ])
        #expect(notes.reports == [])
    }

    @Test(arguments: backendNames)
    func `a child that ends is started again by its policy, and one that is killed too`(
        name: String
    ) throws {
        let notes = Notes()
        try run(on: name, notes) { reactor, tree in
            var lives = 0
            let scripts = ["exit 3", "kill -9 $$", "exit 0", Self.patient]
            let policy = RetryPolicy(firstDelay: .milliseconds(1), longestDelay: .seconds(60))
            tree.add("job", whenEnded: .restart(policy)) {
                lives += 1
                return ProcessService(
                    shell(scripts[min(lives, scripts.count) - 1]), on: reactor,
                    Noting("job", notes))
            }
            notes.whenNoted = { line in if line == "job: ready" { reactor.stop() } }
            tree.start().ignore()
        }
        #expect(notes.statuses == [.exited(3), .signalled(.kill), .exited(0), .exited(0)])
        #expect(notes.lines.count { $0 == "job runs" } == 4)
        #expect(
            notes.reports
                == [
                    "sh exited with 3", "sh ended by SIGKILL", "sh exited with 0",
                ].map { "the service job, which is started again: \($0)" })
    }

    @Test(arguments: backendNames)
    func `a deaf child is killed in time for the part behind it to be asked`(
        name: String
    ) throws {
        let notes = Notes()
        try run(on: name, notes) { reactor, tree in
            tree.add("first") {
                ProcessService(
                    shell(Self.patient), on: reactor, Noting("first", notes),
                    whenReady: whenPrinted("first: ready", notes, on: reactor))
            }
            tree.add("deaf") {
                ProcessService(
                    shell(Self.deaf), on: reactor, Noting("deaf", notes),
                    whenReady: whenPrinted("deaf: ready", notes, on: reactor))
            }
            tree.start().addCallback { () -> Void in _ = reactor.stop(within: .seconds(2)) }
                .ignore()
        }
        #expect(
            notes.lines.suffix(3) == [
                "deaf ended by SIGKILL", "first: asked", "first exited with 0",
            ])
        #expect(notes.reports == [])
    }

    @Test(arguments: backendNames)
    func `a program that is missing, ends early or is never ready fails the start`(
        name: String
    ) throws {
        for (program, expected) in [
            (nil, "no such file"), ("exit 7", "sh exited with 7"), (Self.patient, "no result"),
        ] {
            let notes = Notes()
            var failure: ServiceFailure?
            try run(on: name, notes) { reactor, tree in
                tree.add("first") {
                    ProcessService(
                        shell(Self.patient), on: reactor, Noting("first", notes),
                        whenReady: whenPrinted("first: ready", notes, on: reactor))
                }
                tree.add("second") {
                    let command = program.map { shell($0) } ?? Command("/nowhere/program")
                    return ProcessService(command, on: reactor, Noting("second", notes)) { _ in
                        Deferred<Void>(on: reactor).addTimeout(
                            .milliseconds(program == "exit 7" ? 20_000 : 100))
                    }
                }
                tree.start().whenFailed { error in
                    failure = error as? ServiceFailure
                    reactor.stop()
                }
            }
            #expect(failure?.name == "second")
            let reason = failure.map { "\($0.error)" } ?? ""
            #expect(reason.contains(expected), "\(reason)")
            #expect(notes.lines.suffix(2) == ["first: asked", "first exited with 0"])
            #expect(notes.lines.count { $0.hasSuffix(" runs") } == notes.statuses.count)
        }
    }

    @Test func `a stop while a child becomes ready ends it, and the condition is cancelled`() throws
    {
        let notes = Notes()
        var isCancelled = false
        var condition: Deferred<Void>?
        try run(on: "epoll", notes) { reactor, tree in
            tree.add("slow") {
                ProcessService(shell(Self.patient), on: reactor, Noting("slow", notes)) { _ in
                    let deferred = Deferred<Void>(on: reactor) { _ in isCancelled = true }
                    condition = deferred
                    return deferred
                }
            }
            notes.whenNoted = { line in if line == "slow: ready" { reactor.stop() } }
            tree.start().whenFailed { error in #expect(error is CancellationError) }
        }
        #expect(isCancelled && condition?.isPending == false)
        condition = nil
        #expect(notes.lines.last == "slow exited with 0" && notes.reports == [])
    }

    @Test(arguments: backendNames)
    func `a stop inside processStarted waits until the child is over`(name: String) throws {
        let notes = Notes()
        try run(on: name, notes) { reactor, tree in
            tree.add("child") {
                ProcessService(shell("exec sleep 1000"), on: reactor, Noting("child", notes))
            }
            notes.whenNoted = { line in
                guard line == "child runs" else { return }
                tree.stop(within: .seconds(5)).addCallback { () -> Void in
                    notes.add("stopped")
                    reactor.stop()
                }.ignore()
            }
            tree.start().whenFailed { error in #expect(error is CancellationError) }
        }
        #expect(notes.lines == ["child runs", "child ended by SIGTERM", "stopped"])
        #expect(notes.reports == [])
    }

    private struct Refusal: Error {}

    private final class Refusing: ProcessProtocol {
        func processStarted(_ child: ChildProcess) throws { throw Refusal() }
    }

    @Test(arguments: backendNames)
    func `what processStarted throws is why the start fails, when the child is over`(name: String)
        throws
    {
        let notes = Notes()
        var failure: ServiceFailure?
        var service: ProcessService?
        try run(on: name, notes) { reactor, tree in
            tree.add("child", whenEnded: .stopAll) {
                let made = ProcessService(shell("exec sleep 1000"), on: reactor, Refusing())
                service = made
                return made
            }
            tree.start().whenFailed { error in
                failure = error as? ServiceFailure
                #expect(service?.child?.isOver == true)
                reactor.stop()
            }
        }
        #expect(failure?.error is Refusal)
        #expect(service?.child?.status == .signalled(.kill))
        #expect(notes.reports == ["starting sh: Refusal()"])
    }

    @Test func `a stop inside the condition cancels it`() throws {
        let notes = Notes()
        var isCancelled = false
        var condition: Deferred<Void>?
        try run(on: "epoll", notes) { reactor, tree in
            tree.add("child") {
                ProcessService(shell("exec sleep 1000"), on: reactor, Noting("child", notes)) { _ in
                    tree.stop(within: .seconds(5)).addCallback { () -> Void in reactor.stop() }
                        .ignore()
                    let deferred = Deferred<Void>(on: reactor) { _ in isCancelled = true }
                    condition = deferred
                    return deferred
                }
            }
            tree.start().whenFailed { error in #expect(error is CancellationError) }
        }
        #expect(isCancelled && condition?.isPending == false)
        condition = nil
        #expect(notes.lines.last == "child ended by SIGTERM" && notes.reports == [])
    }

    @Test func `without a tree a stop fails a start that is under way, also from processStarted`()
        throws
    {
        for moment in ["child runs", "child: ready"] {
            let notes = Notes()
            var failure: (any Error)?
            var condition: Deferred<Void>?
            try run(on: "epoll", notes) { reactor, _ in
                let service = ProcessService(
                    shell(Self.patient), on: reactor, Noting("child", notes)
                ) { _ in
                    let deferred = Deferred<Void>(on: reactor)
                    condition = deferred
                    return deferred
                }
                notes.whenNoted = { line in
                    guard line == moment else { return }
                    service.stopService(within: .seconds(5)).addCallback { () -> Void in
                        #expect(service.child?.isOver == true)
                        reactor.stop()
                    }.ignore()
                }
                service.startService { _ in Issue.record("it ended by itself") }
                    .whenFailed { failure = $0 }
            }
            #expect(failure is CancellationError && condition?.isPending != true)
            condition = nil
            #expect(notes.statuses.count == 1 && notes.reports == [])
        }
    }

    // MARK: Simulated

    @Test func `simulated: any program of ends and stops leaves no child and stops in reverse`()
        throws
    {
        try simulate("process services", seeds: 1...60, faults: .none) { world in
            let host = world.host("machine"), notes = Notes()
            var running: [Int] = []
            var isOver = false
            var starts = 0
            try host.run { reactor in
                reactor.unhandledError = { _ in }
                reactor.playChildren { child in
                    let number = Int(child.command.program) ?? 0
                    running.append(number)
                    starts += 1
                    let isDeaf = Bool.random(using: &world.dice)
                    child.whenSignalled = { signal in
                        // Behind it none runs any more.
                        #expect(running.allSatisfy { $0 <= number }, "\(running)")
                        if !isDeaf { child.exit(.exited(0)) }
                    }
                    guard Bool.random(using: &world.dice) else { return }
                    let life = Duration.milliseconds(Int.random(in: 1...30_000, using: &world.dice))
                    child.reactor.callLater(life) { child.exit(.exited(1)) }
                }
                let tree = ServiceTree(on: reactor)
                for number in 0..<4 {
                    tree.add("\(number)", whenEnded: .restart(RetryPolicy())) {
                        let proto = Ending { running.removeAll { $0 == number } }
                        return ProcessService(Command("\(number)"), on: reactor, proto) { _ in
                            reactor.deferLater(.milliseconds(200))
                        }
                    }
                }
                tree.start().whenFailed { _ in }
                let time = Duration.milliseconds(Int.random(in: 0...60_000, using: &world.dice))
                reactor.callLater(time) { reactor.stop(within: .seconds(30)) }
                reactor.addTrigger(.drained, .shutdown) {
                    tree.checkInvariants()
                    #expect(tree.state == .stopped || tree.state == .idle)
                    #expect(running == [])
                }
                reactor.addTrigger(.after, .shutdown) { isOver = true }
            }
            try world.run { isOver }
            #expect(starts > 0 && notes.reports == [])
        }
    }

    private final class Ending: ProcessProtocol {
        let body: () -> Void
        init(_ body: @escaping () -> Void) { self.body = body }
        func processEnded(_ status: ProcessStatus, _ child: ChildProcess) { body() }
    }
}
