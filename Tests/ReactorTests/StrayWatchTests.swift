// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

import CCallFaults
import Glibc
import Testing
import Torsion

/// A watched descriptor that is closed behind our back while another one of the same file is open,
/// here or in a child: the kernel goes on to report it, and by its number nobody can end that.
@Suite struct StrayWatchTests {
    /// The end to read from, and the end to write to.
    private func makePipe() throws -> [Int32] {
        var ends: [Int32] = [0, 0]
        try #require(pipe(&ends) == 0)
        for end in ends { _ = fcntl(end, F_SETFD, FD_CLOEXEC) }
        return ends
    }

    /// What this thread has used; a wait takes none, however busy the machine is.
    private func cpuTime() -> Duration {
        var time = timespec()
        clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time)
        return .seconds(time.tv_sec) + .nanoseconds(time.tv_nsec)
    }

    /// Kernel memory for watches is short when the others move to another epoll: each stays watched
    /// where it was until it is there.
    // R11
    @Test func `a shortage while the others are moved loses none of them`() throws {
        let reactor = try Reactor.turned(by: "epoll")
        var reports: [String] = []
        reactor.unhandledError = { reports.append("\($0.error)") }
        let ends = try makePipe(), others = try makePipe()
        for end in others { _ = fcntl(end, F_SETFL, O_NONBLOCK) }
        let watched = fcntl(ends[0], F_DUPFD_CLOEXEC, 15_000)
        try #require(watched >= 0)
        write(ends[1], "x", 1)

        var calls = 0, heard = 0
        let other = try reactor.watch(descriptor: others[0], for: .readable) { _ in
            var byte: UInt8 = 0
            calls += 1
            heard += max(0, read(others[0], &byte, 1))
        }
        let watch = try reactor.watch(descriptor: watched, for: .readable) { _ in }
        reactor.turn(until: reactor.now)
        close(watched)
        watch.cancel()

        // The waker of the new epoll is there, the watch is refused; then the waker is, twice.
        torsion_fail_watches(ENOMEM, 1, 3)
        defer { torsion_fail_watches(0, 0, 0) }
        for _ in 0..<8 { reactor.turn(until: reactor.now) }
        #expect(torsion_failed_watches() == 3)
        #expect(calls == 0, "told of an error that it does not have")

        write(others[1], "y", 1)
        #expect(reactor.turn { heard == 1 })
        let before = cpuTime()
        let end = reactor.now.advanced(by: .milliseconds(50))
        while reactor.now < end { reactor.turn(until: end) }
        #expect(cpuTime() - before < .milliseconds(5), "it spins when the shortage is over")
        #expect(reports.isEmpty)
        other.cancel()
        for descriptor in ends + others { close(descriptor) }
        reactor.turn(until: reactor.now)
        #expect(reactor.statistics.openHandles == 0)
        reactor.shutDown()
    }

    // R11
    @Test(arguments: watchingNames)
    func `a closed descriptor whose file lives on is let go, and others are watched on`(
        name: String
    ) throws {
        let reactor = try Reactor.turned(by: name)
        reactor.unhandledError = { _ in }
        let ends = try makePipe()
        // Numbers that no other test is given when they are closed.
        let watched = fcntl(ends[0], F_DUPFD_CLOEXEC, 15_000)
        try #require(watched >= 0)
        write(ends[1], "x", 1)

        let others = try makePipe()
        var heard = 0
        let other = try reactor.watch(descriptor: others[0], for: .readable) { _ in
            var byte: UInt8 = 0
            heard += read(others[0], &byte, 1)
        }
        let watch = try reactor.watch(descriptor: watched, for: .readable) { _ in }
        reactor.turn(until: reactor.now)
        close(watched)
        // It is told that it is closed, or found to be, and ended either way.
        for _ in 0..<4 { reactor.turn(until: reactor.now) }
        watch.cancel()

        let before = cpuTime()
        let end = reactor.now.advanced(by: .milliseconds(50))
        while reactor.now < end { reactor.turn(until: end) }
        let used = cpuTime() - before
        #expect(used < .milliseconds(5), "it spins")

        write(others[1], "y", 1)
        #expect(reactor.turn { heard == 1 })
        try expectWakes(reactor)
        other.cancel()
        for descriptor in ends + others { close(descriptor) }
        reactor.turn(until: reactor.now)
        #expect(reactor.statistics.openHandles == 0)
        reactor.shutDown()
    }

    /// Another thread ends a long wait.
    private func expectWakes(_ reactor: Reactor) throws {
        // Written on the reactor's thread alone.
        nonisolated(unsafe) var isWoken = false
        let handle = reactor.remote
        let start = reactor.now
        let thread = try NativeThreadOfTest { handle.callFromThread { _ in isWoken = true } }
        #expect(reactor.turn(within: .seconds(20)) { isWoken })
        thread.join()
        #expect(reactor.now < start.advanced(by: .seconds(10)), "it was not woken")
    }
}
