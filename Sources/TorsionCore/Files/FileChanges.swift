// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

/// The events of a file, as a set.
public struct FileEvents: OptionSet, Hashable, Sendable {
    /// The bits.
    public let rawValue: UInt8

    /// Makes a set of its bits.
    ///
    /// - Parameter rawValue: Bits as those of the constants; others are kept.
    public init(rawValue: UInt8) { self.rawValue = rawValue }

    /// The path leads to a new file: made, moved here, or put in the place of the former by
    /// `rename(2)`.
    public static let created = FileEvents(rawValue: 1)
    /// The path's file is gone: removed, or moved away.
    public static let removed = FileEvents(rawValue: 2)
    /// Something was written to it.
    ///
    /// More may follow: a file that is read as a whole is read when it is ``written``.
    public static let modified = FileEvents(rawValue: 4)
    /// It was closed by a program that had it open for writing.
    public static let written = FileEvents(rawValue: 8)
    /// Its owner, mode, times or number of names changed.
    public static let attributes = FileEvents(rawValue: 16)

    /// The events after which a reader finds other contents, once they are complete: ``created``,
    /// ``removed``, ``written``.
    ///
    /// What writes through a mapping, or changes the size by `truncate(2)` with the path, closes nothing
    /// that was open for writing: the first tells no event, the second ``modified`` alone.
    public static let contents: FileEvents = [.created, .removed, .written]
    /// Everything.
    public static let all: FileEvents = [.contents, .modified, .attributes]
}

extension FileEvents: CustomStringConvertible {
    /// Its names, as in `created, written`; `nothing` without any.
    public var description: String {
        let names: [(FileEvents, String)] = [
            (.created, "created"), (.removed, "removed"), (.modified, "modified"),
            (.written, "written"), (.attributes, "attributes"),
        ]
        let present = names.filter { contains($0.0) }.map(\.1)
        return present.isEmpty ? "nothing" : present.joined(separator: ", ")
    }
}

/// The events of watched files since the last report.
///
/// A plain value.
public struct FileChanges: Hashable, Sendable {
    /// The events, by path.
    ///
    /// The path is as it was given to ``FileWatch``, or is below that. The events of one path are
    /// those of the whole burst, unordered: look at the file.
    public var byPath: [String: FileEvents] = [:]

    /// Files that have other names now, in order, if both names are watched.
    public var moves: [FileMove] = []

    /// Whether events may be missing.
    ///
    /// The kernel lost events, more than a thousand paths changed, or a new folder cannot be watched:
    /// look at everything.
    public var isIncomplete = false

    /// Makes an empty value.
    public init() {}

    var isEmpty: Bool { byPath.isEmpty && moves.isEmpty && !isIncomplete }
}

/// A file that has another name now.
///
/// A plain value.
public struct FileMove: Hashable, Sendable {
    /// The name that it had.
    public var from: String
    /// The name that it has.
    public var to: String

    /// A move.
    ///
    /// - Parameters:
    ///   - from: The name that it had.
    ///   - to: The name that it has.
    public init(from: String, to: String) {
        self.from = from
        self.to = to
    }
}

/// A path that is watched: each folder with a name of the way to it, and what it leads to.
struct WatchedPlace {
    struct Step: Hashable {
        let folder: Int32
        let name: String
    }

    let path: String
    var steps: [Step] = []
    /// Whether the last step has the last name of the way, and not one that led nowhere.
    var endsWithStep = false
    var entry = FileEntry.none
    /// Folders whose names are told, and what they are called.
    var folders: [Int32: String] = [:]

    init(_ path: String) {
        var path = path[...]
        while path.count > 1, path.hasSuffix("/") { path.removeLast() }
        self.path = String(path)
    }

    var numbers: Set<Int32> { Set(steps.map(\.folder)).union(folders.keys) }

    func step(of notice: FileNotice) -> Int? {
        steps.lastIndex { $0.folder == notice.folder && $0.name == notice.name }
    }

    /// The path of a name in one of its folders.
    static func joined(_ folder: String, _ name: String) -> String {
        folder == "/" ? "/" + name : folder + "/" + name
    }

    func uses(_ number: Int32) -> Bool {
        folders[number] != nil || steps.contains { $0.folder == number }
    }

    /// - Returns: The folders that are not watched here any more.
    mutating func removeTree(_ path: String) -> [Int32] {
        let below = path + "/"
        let gone = folders.filter { $0.value == path || $0.value.hasPrefix(below) }.keys
        for number in gone { folders[number] = nil }
        return gone.sorted()
    }
}

/// A path while it is followed, name by name.
struct FilePath {
    /// The folder that the next name is in.
    private(set) var folder: String
    /// Names, the next one last.
    private var rest: [Substring]
    private var linkCount = 0

    /// `ELOOP` in the kernel.
    private static let linkLimit = 40

    init(_ path: String) {
        folder = path.hasPrefix("/") ? "/" : "."
        rest = Self.names(path)
    }

    private static func names(_ path: String) -> [Substring] {
        path.split(separator: "/").filter { $0 != "." }.reversed()
    }

    var isAtEnd: Bool { rest.isEmpty }

    /// Takes the next name; enters the folder above for `..`.
    mutating func next() -> String? {
        guard let name = rest.popLast().map(String.init) else { return nil }
        if name == ".." { folder = joined(name) }
        return name
    }

    mutating func enter(_ name: String) { folder = joined(name) }

    /// Goes on where a link leads.
    ///
    /// - Returns: Whether that is not without end.
    mutating func follow(_ target: String) -> Bool {
        linkCount += 1
        if target.hasPrefix("/") { folder = "/" }
        rest += Self.names(target)
        return linkCount <= Self.linkLimit
    }

    func joined(_ name: String) -> String { WatchedPlace.joined(folder, name) }
}

extension FileNotice {
    /// Whether a name leads nowhere now.
    var isRemoval: Bool { kind == .removed || kind == .departed }

    /// Whether a name leads elsewhere now.
    var changesName: Bool {
        switch kind {
        case .created, .arrived, .removed, .departed: true
        case .modified, .written, .attributes, .ended, .overflow: false
        }
    }
}
