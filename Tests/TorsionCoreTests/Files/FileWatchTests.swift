// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

import Testing
import TorsionCore
import TorsionTesting

/// Folders and files that a test plays.
private final class PlayedFiles: FileNotifier {
    var receiver: ((FileNotice) -> Void)?
    var entries: [String: FileEntry] = ["/.": .folder(device: 1, inode: 1)]
    var refusals: [String: ErrorCode] = [:]
    private(set) var numbers: [UInt64: Int32] = [:]
    private(set) var watched: Set<Int32> = []
    private var nextNumber: Int32 = 1
    private var nextInode: UInt64 = 2

    func makeFolder(_ path: String) {
        entries[path] = .folder(device: 1, inode: nextInode)
        nextInode += 1
    }

    func makeFile(_ path: String) {
        entries[path] = .file(device: 1, inode: nextInode)
        nextInode += 1
    }

    func link(_ path: String, to target: String) { entries[path] = .link(target) }

    func remove(_ path: String) {
        for key in entries.keys where key == path || key.hasPrefix(path + "/") {
            entries[key] = nil
        }
    }

    /// Follows links and `..`, as the kernel does.
    private func real(_ path: String) -> String {
        var real = ""
        for name in path.split(separator: "/") where name != "." {
            if name == ".." {
                real = String(real[..<(real.lastIndex(of: "/") ?? real.startIndex)])
                continue
            }
            if case .link(let target)? = entries[real] { real = target }
            real += "/" + name
        }
        return real
    }

    private func inode(_ path: String) -> UInt64? {
        var place = real(path)
        if case .link(let target)? = entries[place] { place = target }
        guard !place.isEmpty else { return 1 }
        guard case .folder(_, let inode)? = entries[place] else { return nil }
        return inode
    }

    func watch(folder: String, for events: FileEvents) throws(IOError) -> Int32 {
        if let code = refusals[folder] {
            throw IOError(.watch, function: "inotify_add_watch", code: code, subject: folder)
        }
        guard let inode = inode(folder) else {
            throw IOError(
                .watch, function: "inotify_add_watch", code: .noSuchFile, subject: folder)
        }
        if let known = numbers[inode], watched.contains(known) { return known }
        let number = nextNumber
        nextNumber += 1
        numbers[inode] = number
        watched.insert(number)
        return number
    }

    func unwatch(_ number: Int32) { watched.remove(number) }

    func entry(at path: String) -> FileEntry {
        entries[path == "/." ? path : real(path)] ?? .none
    }

    func names(in folder: String) -> [String] {
        entries.keys.filter { $0.hasPrefix(folder + "/") }
            .map { String($0.dropFirst(folder.utf8.count + 1)) }.filter { !$0.contains("/") }
            .sorted()
    }

    func number(of folder: String) -> Int32 { inode(folder).flatMap { numbers[$0] } ?? -2 }

    /// Tells of a name, if its folder is watched.
    func tell(
        _ kind: FileNotice.Kind, _ folder: String, _ name: String, isFolder: Bool = false,
        move: UInt32 = 0
    ) {
        let number = number(of: folder)
        guard watched.contains(number) else { return }
        receiver?(FileNotice(kind, folder: number, name: name, isFolder: isFolder, move: move))
    }
}

private final class PlayedServices: ReactorServices {
    let files: PlayedFiles
    init(_ files: PlayedFiles) { self.files = files }

    var resolver: any NameResolver { fatalError("no names") }
    var signals: any SignalSource { fatalError("no signals") }
    func makeFileNotifier() -> any FileNotifier { files }
    func shutDown() {}
}

@Suite struct FileWatchTests {
    private let files = PlayedFiles()
    private let clock: ManualClock

    init() {
        // The services never leave the thread of the test.
        nonisolated(unsafe) let files = files
        clock = ManualClock(services: { _ throws(IOError) in PlayedServices(files) })
        files.makeFolder("/etc")
        files.makeFolder("/etc/app")
    }

    private final class Told {
        var all: [FileChanges] = []
        var times: [MonotonicInstant] = []
    }

    private func watch(
        _ paths: [String], for events: FileEvents = .contents, deep: Bool = false, _ told: Told
    ) throws -> FileWatch {
        try FileWatch(
            of: paths, for: events, includesSubfolders: deep, gathering: .milliseconds(50),
            on: clock.reactor
        ) { [clock] changes in
            told.all.append(changes)
            told.times.append(clock.now)
        }
    }

    @Test func `events print by their names`() {
        #expect("\(FileEvents.contents)" == "created, removed, written")
        #expect("\([.modified, .attributes] as FileEvents)" == "modified, attributes")
        #expect("\([] as FileEvents)" == "nothing")
    }

    @Test func `a burst is told once, when nothing has happened for the pause`() throws {
        files.makeFile("/etc/app/conf")
        let told = Told(), watch = try watch(["/etc/app/conf"], told)
        for _ in 0..<30 {
            files.tell(.modified, "/etc/app", "conf")
            files.tell(.written, "/etc/app", "conf")
            clock.advance(by: .milliseconds(10))
        }
        #expect(told.all.isEmpty)
        clock.advance(by: .milliseconds(39))
        #expect(told.all.isEmpty)
        clock.advance(by: .milliseconds(1))
        #expect(told.all.map(\.byPath) == [["/etc/app/conf": .written]])
        clock.advance(by: .seconds(60))
        #expect(told.all.count == 1)
        watch.cancel()
    }

    @Test func `a burst without end is told after ten pauses`() throws {
        files.makeFile("/etc/app/log")
        let told = Told(), watch = try watch(["/etc/app/log"], for: .all, told)
        let start = clock.now
        for _ in 0..<100 {
            files.tell(.modified, "/etc/app", "log")
            clock.advance(by: .milliseconds(20))
        }
        #expect(told.times.first.map { start.duration(to: $0) } == .milliseconds(500))
        #expect(told.all.count == 4)
        #expect(told.all.allSatisfy { $0.byPath == ["/etc/app/log": .modified] })
        watch.cancel()
    }

    @Test func `what was not asked for is not told`() throws {
        files.makeFile("/etc/app/conf")
        let told = Told(), watch = try watch(["/etc/app/conf"], for: .removed, told)
        files.tell(.written, "/etc/app", "conf")
        files.tell(.attributes, "/etc/app", "conf")
        files.tell(.created, "/etc/app", "other")
        files.tell(.removed, "/etc/app", "other")
        clock.advance(by: .seconds(1))
        #expect(told.all.isEmpty)
        watch.cancel()
    }

    @Test func `a file that is replaced is seen, and goes on to be watched`() throws {
        files.makeFile("/etc/app/conf")
        let told = Told(), watch = try watch(["/etc/app/conf"], told)
        for _ in 0..<2 {
            files.makeFile("/etc/app/conf")
            files.tell(.arrived, "/etc/app", "conf", move: 7)
            clock.advance(by: .seconds(1))
        }
        #expect(
            told.all.map(\.byPath)
                == [["/etc/app/conf": .created], ["/etc/app/conf": .created]])
        watch.cancel()
    }

    @Test func `a path that does not exist is told when it does, folder by folder`() throws {
        let told = Told(), watch = try watch(["/etc/new/deep/conf"], told)
        files.makeFolder("/etc/new")
        files.tell(.created, "/etc", "new", isFolder: true)
        // The next one was made before the first was seen.
        files.makeFolder("/etc/new/deep")
        files.makeFile("/etc/new/deep/conf")
        files.tell(.created, "/etc/new", "deep", isFolder: true)
        files.tell(.written, "/etc/new/deep", "conf")
        clock.advance(by: .seconds(1))
        #expect(told.all.map(\.byPath) == [["/etc/new/deep/conf": [.created, .written]]])
        files.remove("/etc/new")
        files.tell(.departed, "/etc", "new", isFolder: true, move: 1)
        clock.advance(by: .seconds(1))
        #expect(told.all.last?.byPath == ["/etc/new/deep/conf": .removed])
        watch.cancel()
        #expect(files.watched.isEmpty)
    }

    @Test func `a folder of the way is no news, as long as the way is not whole`() throws {
        let told = Told(), watch = try watch(["/etc/new/conf"], for: .all, told)
        files.makeFile("/etc/new")
        files.tell(.created, "/etc", "new")
        files.tell(.written, "/etc", "new")
        files.tell(.attributes, "/etc", "new")
        files.remove("/etc/new")
        files.tell(.removed, "/etc", "new")
        clock.advance(by: .seconds(1))
        #expect(told.all.isEmpty)
        watch.cancel()
    }

    @Test func `a link on the way that leads elsewhere changes what it led to`() throws {
        for folder in ["/etc/app/v1", "/etc/app/v2"] {
            files.makeFolder(folder)
            files.makeFile(folder + "/cert")
        }
        files.link("/etc/app/now", to: "/etc/app/v1")
        files.link("/etc/app/cert", to: "now/cert")
        let told = Told(), watch = try watch(["/etc/app/cert"], told)
        files.link("/etc/app/now", to: "/etc/app/v2")
        files.tell(.arrived, "/etc/app", "now", move: 3)
        clock.advance(by: .seconds(1))
        #expect(told.all.map(\.byPath) == [["/etc/app/cert": .created]])
        files.tell(.written, "/etc/app/v2", "cert")
        clock.advance(by: .seconds(1))
        #expect(told.all.last?.byPath == ["/etc/app/cert": .written])
        // The former one is not watched any more.
        files.tell(.written, "/etc/app/v1", "cert")
        clock.advance(by: .seconds(1))
        #expect(told.all.count == 2)
        watch.cancel()
    }

    @Test func `links in a circle lead to nothing`() throws {
        files.link("/etc/app/a", to: "b")
        files.link("/etc/app/b", to: "a")
        let told = Told(), watch = try watch(["/etc/app/a", "/etc/app/../app/b"], told)
        files.remove("/etc/app/b")
        files.makeFile("/etc/app/b")
        files.tell(.arrived, "/etc/app", "b", move: 1)
        clock.advance(by: .seconds(1))
        #expect(
            told.all.map(\.byPath)
                == [["/etc/app/a": .created, "/etc/app/../app/b": .created]])
        watch.cancel()
    }

    @Test func `lost events are told, and everything is looked at again`() throws {
        files.makeFile("/etc/app/conf")
        let told = Told(), watch = try watch(["/etc/app/conf"], told)
        files.receiver?(FileNotice(.overflow, folder: -1))
        clock.advance(by: .seconds(1))
        #expect(told.all == [FileChanges(isIncomplete: true)])
        files.remove("/etc/app")
        files.receiver?(FileNotice(.overflow, folder: -1))
        clock.advance(by: .seconds(1))
        #expect(told.all.last?.byPath == ["/etc/app/conf": .removed])
        files.makeFolder("/etc/app")
        files.tell(.created, "/etc", "app", isFolder: true)
        files.makeFile("/etc/app/conf")
        files.tell(.created, "/etc/app", "conf")
        clock.advance(by: .seconds(1))
        #expect(told.all.last?.byPath == ["/etc/app/conf": .created])
        watch.cancel()
    }

    @Test func `a folder tells its names, and no more than a thousand at a time`() throws {
        let told = Told(), watch = try watch(["/etc/app"], told)
        for number in 0..<1_200 { files.tell(.created, "/etc/app", "\(number)") }
        clock.advance(by: .seconds(1))
        #expect(told.all.count == 1)
        #expect(told.all[0].byPath.count == 1_000 && told.all[0].isIncomplete)
        #expect(told.all[0].byPath["/etc/app/0"] == .created)
        watch.cancel()
    }

    @Test func `a move is told with both names`() throws {
        let told = Told(), watch = try watch(["/etc/app"], told)
        files.tell(.departed, "/etc/app", "old", move: 9)
        files.tell(.arrived, "/etc/app", "new", move: 9)
        files.tell(.departed, "/etc/app", "gone", move: 10)
        files.tell(.arrived, "/etc/app", "come", move: 11)
        clock.advance(by: .seconds(1))
        #expect(told.all.count == 1)
        #expect(told.all[0].moves == [FileMove(from: "/etc/app/old", to: "/etc/app/new")])
        #expect(told.all[0].byPath.count == 4)
        watch.cancel()
    }

    @Test func `with subfolders, what comes is watched with all that it has`() throws {
        let told = Told(), watch = try watch(["/etc/app"], deep: true, told)
        files.makeFolder("/etc/app/a")
        files.makeFolder("/etc/app/a/b")
        files.makeFile("/etc/app/a/b/c")
        files.tell(.created, "/etc/app", "a", isFolder: true)
        clock.advance(by: .seconds(1))
        #expect(Set(told.all[0].byPath.keys) == ["/etc/app/a", "/etc/app/a/b", "/etc/app/a/b/c"])
        files.tell(.written, "/etc/app/a/b", "c")
        clock.advance(by: .seconds(1))
        #expect(told.all[1].byPath == ["/etc/app/a/b/c": .written])
        let inner = files.number(of: "/etc/app/a/b")
        files.remove("/etc/app/a")
        files.tell(.departed, "/etc/app", "a", isFolder: true, move: 4)
        clock.advance(by: .seconds(1))
        #expect(told.all[2].byPath == ["/etc/app/a": .removed])
        #expect(!files.watched.contains(inner))
        watch.cancel()
        #expect(files.watched.isEmpty)
    }

    @Test func `a folder that is made anew under the same number is watched again`() throws {
        let told = Told(), watch = try watch(["/etc/app"], told)
        let former = files.number(of: "/etc/app")
        let same = files.entry(at: "/etc/app")
        // Removed and made again before anybody looked, with the inode that has become free.
        files.tell(.removed, "/etc", "app", isFolder: true)
        files.receiver?(FileNotice(.ended, folder: former))
        #expect(files.entry(at: "/etc/app") == same)
        files.tell(.created, "/etc/app", "inside")
        clock.advance(by: .seconds(1))
        #expect(files.number(of: "/etc/app") != former)
        #expect(told.all.last?.byPath["/etc/app/inside"] == .created)
        watch.cancel()
        #expect(files.watched.isEmpty)
    }

    @Test func `a way that may only be passed is passed, and one that may not be is an error`()
        throws
    {
        files.makeFile("/etc/app/conf")
        files.refusals["/"] = .accessDenied
        files.refusals["/etc"] = .accessDenied
        let told = Told(), watch = try watch(["/etc/app/conf"], told)
        files.tell(.written, "/etc/app", "conf")
        clock.advance(by: .seconds(1))
        #expect(told.all.count == 1)
        watch.cancel()
        files.refusals = ["/etc/app": .accessDenied]
        let denied = #expect(throws: IOError.self) { try self.watch(["/etc/app/conf"], told) }
        #expect(denied?.description == "cannot watch /etc/app: permission denied (EACCES)")
        files.refusals = ["/etc/app": .noSpace]
        #expect(throws: IOError.self) {
            try self.watch(["/etc/other", "/etc/app/conf"], deep: true, told)
        }
        #expect(files.watched.isEmpty)
    }

    @Test func `a folder that cannot be watched later is reported, when it may be cancelled`()
        throws
    {
        let told = Told(), watch = try watch(["/etc/app"], deep: true, told)
        var reports: [String] = []
        clock.reactor.unhandledError = { unhandled in
            reports.append("\(unhandled)")
            watch.cancel()
        }
        files.makeFolder("/etc/app/a")
        files.refusals["/etc/app/a"] = .noSpace
        files.tell(.created, "/etc/app", "a", isFolder: true)
        #expect(watch.isActive)
        clock.advance(by: .seconds(1))
        #expect(reports.count == 1 && reports[0].contains("/etc/app/a"))
        #expect(!watch.isActive && told.all.isEmpty && files.watched.isEmpty)
    }

    @Test func `a closure may cancel its watch and make another, and may throw`() throws {
        struct Wanted: Error {}
        files.makeFile("/etc/app/conf")
        var first: FileWatch?, count = 0, reports = 0
        clock.reactor.unhandledError = { _ in reports += 1 }
        let reactor = clock.reactor
        first = try FileWatch(of: "/etc/app/conf", on: reactor) { _ in
            first?.cancel()
            try FileWatch(of: "/etc/app/conf", on: reactor) { _ in
                count += 1
                throw Wanted()
            }
        }
        files.tell(.written, "/etc/app", "conf")
        clock.advance(by: .seconds(1))
        #expect(first?.isActive == false)
        for _ in 0..<2 {
            files.tell(.written, "/etc/app", "conf")
            clock.advance(by: .seconds(1))
        }
        #expect(count == 2 && reports == 2)
        first = nil
    }

    @Test func `the end of the run ends watches, and without services there are none`() throws {
        let told = Told(), watch = try watch(["/etc/app"], told)
        clock.reactor.shutDown()
        #expect(!watch.isActive)
        watch.cancel()
        let other = ManualClock()
        let error = #expect(throws: IOError.self) {
            try FileWatch(of: "/etc", on: other.reactor) { _ in }
        }
        #expect(error?.operation == .watch && error?.code == .notSupported)
    }
}

extension FileChanges {
    fileprivate init(isIncomplete: Bool) {
        self.init()
        self.isIncomplete = isIncomplete
    }
}
