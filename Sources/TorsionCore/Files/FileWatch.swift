// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

/// Calls you when files change: configuration, certificates, folders.
///
///     try FileWatch(of: "/etc/app.conf", on: reactor) { _ in readConfiguration() }
///
/// It watches names, and not only the files that have them now: a file that is replaced by
/// `rename(2)` is seen, a folder that is removed and made again too, and a symbolic link anywhere
/// on the way that is made to lead elsewhere. A watched path need not exist yet. A burst of changes
/// is reported once, when it is over.
///
/// It belongs to its reactor's thread, and lasts until ``cancel()`` or the end of the run, even if
/// it is released. File systems of other machines, and those that the kernel makes up, such as
/// `/proc`, do not report events: `inotify(7)`.
///
/// - SeeAlso: Twisted `twisted.internet.inotify.INotify`; libuv `uv_fs_event_t`.
public final class FileWatch {
    /// The reactor that it belongs to.
    public let reactor: Reactor

    /// The watched paths.
    public let paths: [String]

    private let wanted: FileEvents
    private let includesSubfolders: Bool
    private let pause: Duration
    private var body: ((FileChanges) throws -> Void)?
    private weak var notices: FileNotices?
    private var places: [WatchedPlace] = []

    private var changes = FileChanges()
    private var failure: IOError?
    private var call: DelayedCall?
    private var firstTime = MonotonicInstant(nanoseconds: 0)
    private var lastTime = MonotonicInstant(nanoseconds: 0)
    /// A name that went with its file, which may have come elsewhere.
    private var departure: (move: UInt32, path: String)?

    /// A burst that does not end is told after so many pauses.
    private static let longestBurst = 10
    /// How many paths one call tells of.
    private static let pathLimit = 1_000

    /// Watches one path.
    ///
    /// - Parameters:
    ///   - path: A file, a folder, or what may become one.
    ///   - events: The events to report.
    ///   - includesSubfolders: Whether a folder is watched with all that is below it.
    ///   - pause: How long the files have to be quiet.
    ///   - reactor: Where it belongs.
    ///   - body: Called on the reactor.
    /// - Throws: ``IOError`` of operation `watch` that names the path.
    @discardableResult
    public convenience init(
        of path: String, for events: FileEvents = .contents, includesSubfolders: Bool = false,
        gathering pause: Duration = .milliseconds(50), on reactor: Reactor,
        _ body: @escaping (FileChanges) throws -> Void
    ) throws(IOError) {
        try self.init(
            of: [path], for: events, includesSubfolders: includesSubfolders, gathering: pause,
            on: reactor, body)
    }

    /// Watches some paths, and reports them together.
    ///
    /// A folder is watched with the names in it. Events are collected until the files are quiet for
    /// `pause`, or for ten times as long in a burst that does not end; so a file that is written in
    /// many pieces, or two files that are replaced one after the other, are reported once.
    ///
    /// Looks at the paths at once, and at everything below a folder with `includesSubfolders`, which
    /// may wait for the disk. Called on the reactor.
    ///
    /// - Parameters:
    ///   - paths: Files, folders, or what may become one.
    ///   - events: The events to report.
    ///   - includesSubfolders: Whether a folder is watched with all that is below it, links not
    ///     followed.
    ///   - pause: How long the files have to be quiet; 0 reports in the next turn.
    ///   - reactor: Where it belongs.
    ///   - body: Called on the reactor; what it throws goes to ``Reactor/unhandledError``.
    /// - Throws: ``IOError`` of operation `watch` that names the path: ``ErrorCode/accessDenied``,
    ///   ``ErrorCode/noSpace`` when the system's limit of watched folders is reached, or
    ///   ``ErrorCode/notSupported`` without services that can watch.
    @discardableResult
    public init(
        of paths: [String], for events: FileEvents = .contents, includesSubfolders: Bool = false,
        gathering pause: Duration = .milliseconds(50), on reactor: Reactor,
        _ body: @escaping (FileChanges) throws -> Void
    ) throws(IOError) {
        require(
            !paths.isEmpty && paths.allSatisfy { !$0.isEmpty && !$0.utf8.contains(0) },
            "FileWatch: need paths without zero bytes, got \(paths)")
        require(pause >= .zero, "FileWatch: need a pause of 0 or more, got \(pause)")
        self.reactor = reactor
        self.paths = paths
        self.includesSubfolders = includesSubfolders
        self.pause = pause
        wanted = events
        reactor.checkThread()
        guard !reactor.isEnding else {
            throw IOError(.watch, function: "", code: .canceled, subject: paths[0])
        }
        let notices = reactor.companion(of: FileNotices.self)
        self.notices = notices
        try notices.add(self)
        self.body = body
        do throws(IOError) {
            for path in paths {
                var place = WatchedPlace(path)
                defer { places.append(place) }
                try look(at: &place, .first)
            }
        } catch {
            cancel()
            throw error
        }
    }

    /// Whether it may still call its closure.
    public var isActive: Bool { body != nil }

    /// Ends the watch and releases its closure, which is not called again.
    ///
    /// Harmless when repeated.
    public func cancel() {
        reactor.checkThread()
        guard isActive else { return }
        runHasEnded()
        guard let notices else { return }
        for number in numbers { notices.release(number, by: self) }
        places = []
        notices.remove(self)
    }

    /// Nothing is told any more, nor can anything be.
    func runHasEnded() {
        body = nil
        call?.cancel()
        call = nil
    }

    private func isUsed(_ number: Int32) -> Bool { places.contains { $0.uses(number) } }

    private var numbers: Set<Int32> { places.reduce(into: []) { $0.formUnion($1.numbers) } }

    // MARK: What happened

    func take(_ notice: FileNotice) {
        guard isActive else { return }
        if notice.kind == .overflow { changes.isIncomplete = true }
        if notice.kind == .overflow || notice.kind == .ended { changed() }
        for index in places.indices { take(notice, at: index) }
        if notice.kind != .departed { departure = nil }
    }

    private func take(_ notice: FileNotice, at index: Int) {
        switch notice.kind {
        case .overflow: return lookAgain(at: index, .afterLoss)
        case .ended: return folderHasEnded(notice.folder, at: index)
        default: break
        }
        let place = places[index]
        if let base = place.folders[notice.folder], !notice.name.isEmpty {
            let path = WatchedPlace.joined(base, notice.name)
            note(notice, path)
            if includesSubfolders, notice.isFolder { updateTree(notice, path, at: index) }
        }
        guard let step = place.step(of: notice) else { return }
        let isLast = place.endsWithStep && step == place.steps.count - 1
        if isLast { note(notice, place.path) }
        guard notice.changesName else { return }
        lookAgain(at: index, .again, isTold: isLast)
        // One has taken its place already.
        guard isLast, notice.isRemoval, places[index].entry != .none else { return }
        add(.created, place.path)
    }

    private func folderHasEnded(_ number: Int32, at index: Int) {
        let isOnTheWay = places[index].steps.contains { $0.folder == number }
        let ended = places[index].folders.removeValue(forKey: number)
        // A folder below is told by the one above it.
        if isOnTheWay || ended == places[index].path { lookAgain(at: index, .again) }
    }

    private func note(_ notice: FileNotice, _ path: String) {
        switch notice.kind {
        case .created: add(.created, path)
        case .arrived:
            add(.created, path)
            guard let departure, departure.move == notice.move else { break }
            guard changes.moves.count < Self.pathLimit else { return changes.isIncomplete = true }
            changes.moves.append(FileMove(from: departure.path, to: path))
            changed()
        case .removed: add(.removed, path)
        case .departed:
            add(.removed, path)
            departure = (notice.move, path)
        case .modified: add(.modified, path)
        case .written: add(.written, path)
        case .attributes: add(.attributes, path)
        case .ended, .overflow: break
        }
    }

    private func add(_ event: FileEvents, _ path: String) {
        guard wanted.contains(event) else { return }
        changed()
        guard changes.byPath[path] != nil || changes.byPath.count < Self.pathLimit else {
            return changes.isIncomplete = true
        }
        changes.byPath[path, default: []].formUnion(event)
    }

    // MARK: Where it leads

    private enum Look { case first, again, afterLoss }

    /// Something on the way, or the end of it, is another.
    ///
    /// `isTold`: Whether the end itself was told by the notice.
    private func lookAgain(at index: Int, _ look: Look, isTold: Bool = false) {
        let former = places[index].entry, before = numbers
        var place = places[index]
        do throws(IOError) { try self.look(at: &place, look) } catch { failed(error) }
        places[index] = place
        for number in before.subtracting(numbers) { notices?.release(number, by: self) }
        guard !isTold, place.entry != former else { return }
        add(place.entry == .none ? .removed : .created, place.path)
    }

    private func failed(_ error: IOError) {
        changes.isIncomplete = true
        // Told later: whoever hears of it may cancel the watch.
        failure = error
        changed()
    }

    /// Follows a path, and watches each folder that has a name of the way.
    private func look(at place: inout WatchedPlace, _ look: Look) throws(IOError) {
        guard let notices else { return }
        let former = place
        place = WatchedPlace(place.path)
        var way = FilePath(place.path)
        while let name = way.next() {
            if name == ".." { continue }
            guard let number = try claim(way) else { return }
            if number >= 0 { place.steps.append(WatchedPlace.Step(folder: number, name: name)) }
            let entry = notices.entry(at: way.joined(name))
            place.endsWithStep = way.isAtEnd && number >= 0
            switch entry {
            case .none: return
            case .link(let target):
                place.endsWithStep = false
                if !way.follow(target) { return }
            case .folder: way.enter(name)
            case .file:
                if way.isAtEnd { place.entry = entry }
                return
            }
        }
        place.entry = notices.entry(at: way.joined("."))
        guard case .folder = place.entry else { return }
        let isSame = place.entry == former.entry && former.folders.values.contains(place.path)
        if isSame, look == .again {
            place.folders = former.folders
        } else {
            try addTree(place.path, to: &place, isTold: look == .again)
        }
    }

    /// Watches the folder that the next name of the way is in.
    ///
    /// - Returns: Nil if there is none any more; -1 for one that may only be passed through.
    private func claim(_ way: FilePath) throws(IOError) -> Int32? {
        let events = way.isAtEnd ? wanted.union([.created, .removed]) : [.created, .removed]
        do throws(IOError) {
            return try notices?.claim(way.folder, for: events, by: self)
        } catch {
            switch error.code {
            case .noSuchFile, .notDirectory: return nil
            case .accessDenied where !way.isAtEnd: return -1
            default: throw error
            }
        }
    }

    /// Watches a folder, and with subfolders all that is below it.
    private func addTree(
        _ path: String, to place: inout WatchedPlace, isTold: Bool
    ) throws(IOError) {
        guard let notices else { return }
        let events = wanted.union([.created, .removed])
        var rest = [path]
        while let folder = rest.popLast() {
            do throws(IOError) {
                let number = try notices.claim(folder, for: events, by: self)
                place.folders[number] = folder
            } catch {
                if error.code == .noSuchFile || error.code == .notDirectory { continue }
                throw error
            }
            guard includesSubfolders || isTold else { continue }
            // What has come before it was watched.
            for name in notices.names(in: folder) {
                let inner = WatchedPlace.joined(folder, name)
                if isTold { add(.created, inner) }
                guard includesSubfolders, case .folder = notices.entry(at: inner) else { continue }
                rest.append(inner)
            }
        }
    }

    private func updateTree(_ notice: FileNotice, _ path: String, at index: Int) {
        switch notice.kind {
        case .created, .arrived:
            do throws(IOError) {
                try addTree(path, to: &places[index], isTold: true)
            } catch { failed(error) }
        case .departed:
            for number in places[index].removeTree(path) where !isUsed(number) {
                notices?.release(number, by: self)
            }
        // Each folder that is removed tells its own end.
        default: break
        }
    }

    // MARK: Telling

    private func changed() {
        lastTime = reactor.now
        guard call == nil, isActive else { return }
        firstTime = lastTime
        call = reactor.callLater(pause) { [self] in pauseHasPassed() }
    }

    private func pauseHasPassed() {
        call = nil
        let end = min(
            lastTime.advanced(by: pause), firstTime.advanced(by: pause * Self.longestBurst))
        if end > reactor.now {
            call = reactor.callLater(reactor.now.duration(to: end)) { [self] in pauseHasPassed() }
            return
        }
        let told = changes
        changes = FileChanges()
        departure = nil
        if let failure = failure.take() { reactor.report(failure, in: "a watch of files") }
        guard !told.isEmpty, let body else { return }
        do { try body(told) } catch { reactor.report(error, in: "a watch of files") }
    }
}
