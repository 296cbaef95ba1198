// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

import Glibc
import TestPrograms
import TestedBackends
import Testing
import TorsionCore
import TorsionServices

/// Uses of file watches that nobody planned for.
@Suite struct OddFileWatchTests {
    private let folder = TemporaryFolder()

    private func turn(_ reactor: Reactor, until condition: () -> Bool) -> Bool {
        let end = reactor.now.advanced(by: .seconds(10))
        while !condition() {
            guard reactor.now < end else { return false }
            reactor.turn(until: end)
        }
        return true
    }

    private func replace(_ path: String, _ text: String) {
        let next = folder.file("next", text)
        precondition(rename(next, path) == 0)
    }

    @Test func `a file that is replaced a thousand times is watched to the last`() throws {
        let reactor = try makeReactor("epoll")
        let conf = folder.file("conf", "0")
        var calls = 0
        let watch = try FileWatch(of: conf, gathering: .zero, on: reactor) { _ in calls += 1 }
        for number in 0..<1_000 {
            replace(conf, "\(number)")
            if number % 7 == 0 { reactor.turn(until: reactor.now) }
        }
        #expect(turn(reactor) { calls > 0 })
        for _ in 0..<20 { reactor.turn(until: reactor.now) }
        calls = 0
        replace(conf, "last")
        #expect(turn(reactor) { calls > 0 })
        watch.cancel()
        reactor.shutDown()
    }

    @Test func `a closure that writes to its own file is called again, and never inside itself`()
        throws
    {
        let reactor = try makeReactor("epoll")
        let conf = folder.file("conf", "0")
        var calls = 0, depth = 0
        let folder = folder
        let watch = try FileWatch(of: conf, gathering: .zero, on: reactor) { _ in
            depth += 1
            #expect(depth == 1)
            calls += 1
            if calls < 5 { _ = folder.file("conf", "\(calls)") }
            depth -= 1
        }
        _ = folder.file("conf", "begin")
        #expect(turn(reactor) { calls >= 5 })
        watch.cancel()
        reactor.shutDown()
    }

    @Test func `two watches of one file are both told, until each is cancelled`() throws {
        let reactor = try makeReactor("epoll")
        let conf = folder.file("conf", "0")
        var calls = [0, 0]
        let watches = try (0..<2).map { index in
            try FileWatch(
                of: index == 0 ? conf : folder.path + "/../" + lastName + "/./conf",
                gathering: .zero, on: reactor
            ) { _ in calls[index] += 1 }
        }
        replace(conf, "1")
        #expect(turn(reactor) { calls.allSatisfy { $0 > 0 } })
        watches[0].cancel()
        calls = [0, 0]
        replace(conf, "2")
        #expect(turn(reactor) { calls[1] > 0 })
        #expect(calls[0] == 0)
        watches[1].cancel()
        reactor.shutDown()
    }

    private var lastName: String { String(folder.path.split(separator: "/").last ?? "") }

    @Test func `a thousand folders come and go, and their numbers with them`() throws {
        let reactor = try makeReactor("epoll")
        var incomplete = false
        let told = Deferred<Void>(on: reactor)
        let last = folder.file("last")
        let watch = try FileWatch(
            of: folder.path, for: [.created, .removed], includesSubfolders: true,
            gathering: .zero, on: reactor
        ) { changes in
            incomplete = incomplete || changes.isIncomplete
            if changes.byPath[last] != nil, told.isPending { told.succeed() }
        }
        for round in 0..<3 {
            for number in 0..<1_000 {
                #expect(mkdir(folder.file("\(number)"), 0o700) == 0)
                if number % 50 == 0 { reactor.turn(until: reactor.now) }
            }
            for _ in 0..<20 { reactor.turn(until: reactor.now) }
            for number in 0..<1_000 {
                #expect(rmdir(folder.file("\(number)")) == 0)
                if number % 50 == 0 { reactor.turn(until: reactor.now) }
            }
            if round == 2 { _ = folder.file("last", "x") }
        }
        #expect(turn(reactor) { !told.isPending })
        told.whenFailed { _ in }
        #expect(!incomplete)
        watch.cancel()
        reactor.shutDown()
    }

    @Test func `names of any bytes harm nobody`() throws {
        let reactor = try makeReactor("epoll")
        var told: Set<String> = []
        let watch = try FileWatch(
            of: folder.path, includesSubfolders: true, gathering: .zero, on: reactor
        ) { told.formUnion($0.byPath.keys) }
        let strange = Array(folder.path.utf8) + [0x2F, 0xFF, 0x0A, 0xFE, 0]
        let result = strange.withUnsafeBytes {
            mkdir($0.bindMemory(to: CChar.self).baseAddress!, 0o700)
        }
        #expect(result == 0)
        _ = folder.file("line\nbreak", "x")
        #expect(turn(reactor) { told.contains(folder.file("line\nbreak")) })
        #expect(told.count == 2)
        watch.cancel()
        strange.withUnsafeBytes { _ = rmdir($0.bindMemory(to: CChar.self).baseAddress!) }
        reactor.shutDown()
    }

    @Test func `a folder that becomes a file, and a file that becomes a folder`() throws {
        let reactor = try makeReactor("epoll")
        let place = folder.file("place")
        var told: [String: FileEvents] = [:]
        let watch = try FileWatch(of: place + "/inner", gathering: .zero, on: reactor) {
            told.merge($0.byPath) { $0.union($1) }
        }
        _ = folder.file("place", "a file")
        for _ in 0..<5 { reactor.turn(until: reactor.now) }
        #expect(told.isEmpty)
        unlink(place)
        #expect(mkdir(place, 0o700) == 0)
        _ = folder.file("place/inner", "x")
        #expect(turn(reactor) { told[place + "/inner"]?.contains(.created) ?? false })
        unlink(place + "/inner")
        rmdir(place)
        #expect(turn(reactor) { told[place + "/inner"]?.contains(.removed) ?? false })
        watch.cancel()
        reactor.shutDown()
    }

    @Test func `a stop of the reactor ends a watch that nobody holds`() throws {
        var isReleased = false
        final class Mark {
            let released: () -> Void
            init(_ released: @escaping () -> Void) { self.released = released }
            deinit { released() }
        }
        let path = folder.path
        try run("epoll") { reactor in
            let mark = Mark { isReleased = true }
            try FileWatch(of: path, on: reactor) { _ in _ = mark }
            reactor.stop()
        }
        #expect(isReleased)
    }

    @Test func `where the user has no notifier left, that is the error`() async {
        await #expect(processExitsWith: .success) {
            try exhaustDescriptors()
            exit(0)
        }
    }
}

private func exhaustDescriptors() throws {
    let reactor = try makeReactor("epoll")
    _ = try reactor.signals
    var limit = rlimit()
    getrlimit(__rlimit_resource_t(RLIMIT_NOFILE.rawValue), &limit)
    let first = open("/dev/null", O_RDONLY | O_CLOEXEC)
    close(first)
    limit.rlim_cur = rlim_t(first)
    setrlimit(__rlimit_resource_t(RLIMIT_NOFILE.rawValue), &limit)
    // Gaps below it, too: the library of the tests closes descriptors at the start of a process.
    var fillers: [Int32] = []
    while true {
        let filler = open("/dev/null", O_RDONLY | O_CLOEXEC)
        guard filler >= 0 else { break }
        fillers.append(filler)
    }
    do throws(IOError) {
        try FileWatch(of: "/tmp", on: reactor) { _ in }
        exit(1)
    } catch {
        precondition(error.operation == .watch && error.code == .tooManyOpenFiles, "\(error)")
    }
    for filler in fillers { close(filler) }
    limit.rlim_cur = limit.rlim_max
    setrlimit(__rlimit_resource_t(RLIMIT_NOFILE.rawValue), &limit)
    // Behind that it works.
    let watch = try FileWatch(of: "/tmp", on: reactor) { _ in }
    precondition(watch.isActive)
    watch.cancel()
    reactor.shutDown()
}
