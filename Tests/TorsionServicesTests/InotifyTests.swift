// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

import Glibc
import TestPrograms
import TestedBackends
import Testing
import TorsionCore
import TorsionServices

/// Watches of real files.
@Suite struct InotifyTests {
    private let folder = TemporaryFolder()

    /// What was told so far.
    private final class Told {
        var changes = FileChanges()
        var count = 0

        func add(_ new: FileChanges) {
            count += 1
            changes.byPath.merge(new.byPath) { $0.union($1) }
            changes.moves += new.moves
            changes.isIncomplete = changes.isIncomplete || new.isIncomplete
        }

        func events(of path: String) -> FileEvents { changes.byPath[path] ?? [] }
    }

    private func watch(
        _ path: String, for events: FileEvents = .contents, deep: Bool = false,
        on reactor: Reactor
    ) throws -> (FileWatch, Told) {
        let told = Told()
        let watch = try FileWatch(
            of: path, for: events, includesSubfolders: deep, gathering: .milliseconds(1),
            on: reactor
        ) { told.add($0) }
        return (watch, told)
    }

    private func turn(_ reactor: Reactor, until condition: () -> Bool) -> Bool {
        let end = reactor.now.advanced(by: .seconds(10))
        while !condition() {
            guard reactor.now < end else { return false }
            reactor.turn(until: end)
        }
        return true
    }

    private func finish(_ reactor: Reactor) {
        #expect(reactor.statistics.watches <= 1, "only that of the guest loop")
        reactor.checkInvariants()
        reactor.shutDown()
    }

    private func path(_ name: String) -> String { folder.file(name) }

    /// Makes folders, and removes what is below the temporary one at the end.
    private func makeFolder(_ name: String) { #expect(mkdir(path(name), 0o700) == 0) }

    private func write(_ name: String, _ text: String) { _ = folder.file(name, text) }

    @Test(arguments: hosts)
    func `writing, replacing and removing a file are told`(host: String) throws {
        let reactor = try makeReactor(host)
        let conf = folder.file("conf", "old")
        let (watch, told) = try watch(conf, for: .all, on: reactor)
        write("conf", "new")
        #expect(turn(reactor) { told.events(of: conf).isSuperset(of: [.written, .modified]) })
        write("conf.next", "newer")
        #expect(rename(path("conf.next"), conf) == 0)
        #expect(turn(reactor) { told.events(of: conf).contains(.created) })
        #expect(chmod(conf, 0o600) == 0)
        #expect(turn(reactor) { told.events(of: conf).contains(.attributes) })
        #expect(unlink(conf) == 0)
        #expect(turn(reactor) { told.events(of: conf).contains(.removed) })
        #expect(told.changes.byPath.count == 1, "the other name is not told")
        watch.cancel()
        finish(reactor)
    }

    @Test(arguments: hosts)
    func `a folder that is removed and made again is watched on`(host: String) throws {
        let reactor = try makeReactor(host)
        makeFolder("app")
        write("app/conf", "1")
        let (file, conf) = try watch(path("app/conf"), on: reactor)
        let (place, names) = try watch(path("app"), on: reactor)
        for round in 2...4 {
            #expect(unlink(path("app/conf")) == 0 && rmdir(path("app")) == 0)
            makeFolder("app")
            write("app/conf", "\(round)")
            #expect(
                turn(reactor) { conf.events(of: path("app/conf")).contains(.created) },
                "round \(round)")
            #expect(
                turn(reactor) {
                    names.events(of: path("app")).isSuperset(of: [.created, .removed])
                        && names.events(of: path("app/conf")).contains(.created)
                })
            conf.changes = FileChanges()
            names.changes = FileChanges()
        }
        file.cancel()
        place.cancel()
        unlink(path("app/conf"))
        rmdir(path("app"))
        finish(reactor)
    }

    @Test(arguments: hosts)
    func `links as a cluster exchanges them are followed`(host: String) throws {
        let reactor = try makeReactor(host)
        for version in ["v1", "v2"] {
            makeFolder(version)
            write("\(version)/cert", version)
        }
        #expect(symlink("v1", path("..data")) == 0)
        #expect(symlink("..data/cert", path("cert")) == 0)
        let (watch, told) = try watch(path("cert"), on: reactor)
        #expect(symlink("v2", path("..next")) == 0)
        #expect(rename(path("..next"), path("..data")) == 0)
        #expect(turn(reactor) { told.events(of: path("cert")).contains(.created) })
        told.changes = FileChanges()
        write("v2/cert", "again")
        #expect(turn(reactor) { told.events(of: path("cert")).contains(.written) })
        watch.cancel()
        for version in ["v1", "v2"] {
            unlink(path("\(version)/cert"))
            rmdir(path(version))
        }
        finish(reactor)
    }

    @Test(arguments: hosts)
    func `below a folder, nothing is missed of what is made in haste`(host: String) throws {
        let reactor = try makeReactor(host)
        let (watch, told) = try watch(folder.path, deep: true, on: reactor)
        var name = "a"
        var all: [String] = []
        for _ in 0..<20 {
            makeFolder(name)
            write("\(name)/file", "x")
            all += [name, "\(name)/file"]
            name += "/a"
        }
        #expect(
            turn(reactor) { all.allSatisfy { told.events(of: path($0)).contains(.created) } })
        #expect(!told.changes.isIncomplete)
        told.changes = FileChanges()
        // A tree that moves is watched under its new name.
        #expect(rename(path("a"), path("b")) == 0)
        #expect(
            turn(reactor) {
                told.changes.moves == [FileMove(from: path("a"), to: path("b"))]
                    && told.events(of: path("b/a/a/file")).contains(.created)
            })
        told.changes = FileChanges()
        write("b/a/a/a/file", "y")
        #expect(turn(reactor) { told.events(of: path("b/a/a/a/file")).contains(.written) })
        watch.cancel()
        for name in all.reversed() {
            let moved = path("b" + name.dropFirst())
            unlink(moved)
            rmdir(moved)
        }
        finish(reactor)
    }

    @Test func `a burst beyond the kernel's queue is told as incomplete`() throws {
        let reactor = try makeReactor("epoll")
        let (watch, told) = try watch(folder.path, on: reactor)
        let limit = try #require(Int(number(in: "/proc/sys/fs/inotify/max_queued_events")))
        let file = folder.file("one", "")
        // Two events for each, of which no two alike follow each other, or the kernel joins them.
        for _ in 0..<limit / 2 + 100 {
            unlink(file)
            close(open(file, O_CREAT | O_WRONLY | O_CLOEXEC, 0o600))
        }
        #expect(turn(reactor) { told.changes.isIncomplete })
        told.changes = FileChanges()
        // It goes on behind it.
        write("two", "")
        #expect(turn(reactor) { told.events(of: path("two")).contains(.written) })
        watch.cancel()
        finish(reactor)
    }

    @Test func `ten thousand writes in a burst are one call`() throws {
        let reactor = try makeReactor("epoll")
        let conf = folder.file("conf", "")
        let told = Told()
        let watch = try FileWatch(of: conf, gathering: .milliseconds(30), on: reactor) {
            told.add($0)
        }
        let file = open(conf, O_WRONLY | O_CLOEXEC)
        for _ in 0..<10_000 { #expect(Glibc.write(file, "x", 1) == 1) }
        close(file)
        #expect(turn(reactor) { told.count > 0 })
        #expect(told.count == 1 && told.events(of: conf) == .written)
        watch.cancel()
        finish(reactor)
    }

    @Test func `what can be watched, and what cannot, is told by a sentence`() throws {
        let reactor = try makeReactor("epoll")
        for path in ["/dev/null", "/", ".", "/no/such/place", "/dev/null/below", "/tmp//"] {
            let (watch, told) = try watch(path, on: reactor)
            #expect(watch.isActive && told.count == 0)
            watch.cancel()
            watch.cancel()
        }
        finish(reactor)
    }

    @Test func `watches leave no descriptor`() throws {
        let reactor = try makeReactor("epoll")
        _ = try reactor.signals
        let before = (0..<1_024).count { fcntl(Int32($0), F_GETFD) >= 0 }
        for _ in 0..<300 {
            let (first, _) = try watch(folder.path, on: reactor)
            let (second, _) = try watch("/tmp", on: reactor)
            first.cancel()
            second.cancel()
        }
        #expect(
            (0..<1_024).count { fcntl(Int32($0), F_GETFD) >= 0 } <= before + 150,
            "300 rounds; other tests have some open meanwhile")
        finish(reactor)
    }

    private func number(in path: String) -> String {
        let file = open(path, O_RDONLY | O_CLOEXEC)
        defer { close(file) }
        var bytes = [UInt8](repeating: 0, count: 32)
        let count = read(file, &bytes, bytes.count)
        return String(decoding: bytes.prefix(max(0, count)).filter { $0 > 32 }, as: UTF8.self)
    }
}
