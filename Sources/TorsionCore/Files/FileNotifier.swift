// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

/// Reports events in folders, as a reactor's services provide it: `inotify(7)`.
///
/// ``FileWatch`` stands on it, and is what programs use. It belongs to its reactor's thread.
public protocol FileNotifier: AnyObject {
    /// Called with what has happened, in order, in a turn of the reactor.
    var receiver: ((FileNotice) -> Void)? { get set }

    /// Begins to report events in a folder.
    ///
    /// - Parameters:
    ///   - folder: Its path.
    ///   - events: Reported; for a folder that is watched already, besides the events reported so
    ///     far.
    /// - Returns: The number of the folder, the same for each path that leads to it.
    /// - Throws: ``IOError`` of operation `watch` that names the path.
    func watch(folder: String, for events: FileEvents) throws(IOError) -> Int32

    /// Stops watching a folder. Harmless for one that is gone.
    ///
    /// - Parameter number: The folder's number, as `watch` returned it.
    func unwatch(_ number: Int32)

    /// The file at a path now, links not followed: `lstat(2)`, `readlink(2)`.
    ///
    /// - Parameter path: A path.
    /// - Returns: What is there; ``FileEntry/none`` also if it cannot be determined.
    func entry(at path: String) -> FileEntry

    /// The names in a folder, in any order, without `.` and `..`; empty if it cannot be read.
    ///
    /// - Parameter folder: A path.
    /// - Returns: Names without their folder.
    func names(in folder: String) -> [String]
}

/// The file at a path.
///
/// A plain value.
@nonexhaustive
public enum FileEntry: Hashable, Sendable {
    /// The path does not exist.
    case none
    /// A symbolic link with this text.
    case link(String)
    /// A folder, by the numbers of its device and itself.
    case folder(device: UInt64, inode: UInt64)
    /// Another file.
    case file(device: UInt64, inode: UInt64)
}

/// Something that happened in a folder.
///
/// A plain value.
public struct FileNotice: Hashable, Sendable {
    /// The event.
    @nonexhaustive
    public enum Kind: Hashable, Sendable {
        /// The name is new, or stands for another file.
        case created
        /// The name came with a file that had another one: `IN_MOVED_TO`.
        case arrived
        /// The name is gone.
        case removed
        /// The name went with its file: `IN_MOVED_FROM`.
        case departed
        /// Something was written to the file.
        case modified
        /// The file was closed behind writing.
        case written
        /// The file's owner, mode, times or number of names changed.
        case attributes
        /// The folder is not watched any more, since it is gone, or was moved.
        case ended
        /// Notices were lost: of every folder.
        case overflow
    }

    /// The event.
    public var kind: Kind
    /// The folder's number, of ``FileNotifier/watch(folder:for:)``; -1 for ``Kind/overflow``.
    public var folder: Int32
    /// The name in the folder; empty if it is about the folder.
    public var name: String
    /// Whether the name is a folder's.
    public var isFolder: Bool
    /// The same number for the two notices of one move; 0 for all else.
    public var move: UInt32

    /// Describes something that happened.
    ///
    /// - Parameters:
    ///   - kind: What.
    ///   - folder: The folder's number.
    ///   - name: The name in the folder.
    ///   - isFolder: Whether the name is a folder's.
    ///   - move: A number that both notices of a move have in common.
    public init(
        _ kind: Kind, folder: Int32, name: String = "", isFolder: Bool = false, move: UInt32 = 0
    ) {
        self.kind = kind
        self.folder = folder
        self.name = name
        self.isFolder = isFolder
        self.move = move
    }
}

/// The one notifier of a reactor, and who is told by it.
final class FileNotices: ReactorCompanion {
    private unowned let reactor: Reactor
    private var notifier: (any FileNotifier)?
    /// Who wants to hear of a folder, in the order in which they came.
    private var users: [Int32: [FileWatch]] = [:]
    private var watches: [FileWatch] = []

    init(on reactor: Reactor) { self.reactor = reactor }

    deinit { for watch in watches { watch.runHasEnded() } }

    /// Opens the notifier for the first watch: a user may have 128 of them.
    func add(_ watch: FileWatch) throws(IOError) {
        if notifier == nil {
            let made = try reactor.startedServices(for: .watch).makeFileNotifier()
            made.receiver = { [unowned self] notice in tell(notice) }
            notifier = made
        }
        watches.append(watch)
    }

    func remove(_ watch: FileWatch) {
        watches.removeAll { $0 === watch }
        if watches.isEmpty { notifier = nil }
    }

    func claim(
        _ folder: String, for events: FileEvents, by watch: FileWatch
    ) throws(IOError) -> Int32 {
        guard let notifier else { return -1 }
        let number = try notifier.watch(folder: folder, for: events)
        let isKnown = users[number]?.contains { $0 === watch } ?? false
        if !isKnown { users[number, default: []].append(watch) }
        return number
    }

    func release(_ number: Int32, by watch: FileWatch) {
        users[number]?.removeAll { $0 === watch }
        guard users[number]?.isEmpty ?? false else { return }
        users[number] = nil
        notifier?.unwatch(number)
    }

    func entry(at path: String) -> FileEntry { notifier?.entry(at: path) ?? .none }

    func names(in folder: String) -> [String] { notifier?.names(in: folder) ?? [] }

    private func tell(_ notice: FileNotice) {
        let told = notice.kind == .overflow ? watches : users[notice.folder] ?? []
        if notice.kind == .ended, users.removeValue(forKey: notice.folder) != nil {
            // One that was moved is watched still, under a name that nobody asked for.
            notifier?.unwatch(notice.folder)
        }
        for watch in told { watch.take(notice) }
    }
}
