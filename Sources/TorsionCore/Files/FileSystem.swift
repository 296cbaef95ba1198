// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

/// The machine's files, by calls that may block.
///
/// A reactor's services provide it. ``FileProducer`` and ``FileConsumer`` call it on worker threads;
/// a program that does so itself uses ``Reactor/deferToThread(file:line:_:)``:
///
///     let files = try reactor.files
///     reactor.deferToThread { try files.open(path, for: .reading).read(at: 0, limit: 4_096) }
///
/// - SeeAlso: libuv `uv_fs_t`.
public protocol FileSystem: Sendable {
    /// Opens a regular file; for writing also a device such as `/dev/null`. Callable from any
    /// thread; blocks.
    ///
    /// - Parameters:
    ///   - path: Relative to the process's folder unless it begins with a slash.
    ///   - access: Reading, or which way of writing.
    /// - Returns: The open file, which closes itself when it is released.
    /// - Throws: ``IOError`` of operation `open` that names the path; ``ErrorCode/notSupported``
    ///   for another kind of file, such as a pipe.
    func open(_ path: String, for access: FileAccess) throws(IOError) -> any OpenFile

    /// Opens a regular file for reading that is within a folder, whatever `..` and links its path
    /// has: for paths that strangers name. Callable from any thread; blocks.
    ///
    /// A way out of the folder is an error, also one that a link makes while the path is resolved. By
    /// default fails: file systems of a test need not have it.
    ///
    /// - Parameters:
    ///   - path: Relative to the folder.
    ///   - folder: The folder.
    /// - Returns: The file, and what it was when it was opened.
    /// - Throws: ``IOError`` of operation `open` that names the path.
    /// - SeeAlso: `openat2(2)`, `RESOLVE_BENEATH`.
    func open(
        _ path: String, beneath folder: String
    ) throws(IOError) -> (file: any OpenFile, status: FileStatus)
}

extension FileSystem {
    /// Fails.
    ///
    /// - Parameters:
    ///   - path: Ignored.
    ///   - folder: Ignored.
    /// - Returns: Does not return; it throws.
    /// - Throws: ``IOError`` of code ``ErrorCode/notSupported``.
    public func open(
        _ path: String, beneath folder: String
    ) throws(IOError) -> (file: any OpenFile, status: FileStatus) {
        throw IOError(.open, function: "", code: .notSupported, subject: path)
    }
}

/// The status of an open file.
///
/// A plain value.
public struct FileStatus: Hashable, Sendable {
    /// Its number in its file system.
    public var inode: UInt64
    /// How long it is.
    public var byteCount: Int64
    /// When its bytes were changed last.
    public var modified: WallTime

    /// Describes a file.
    ///
    /// - Parameters:
    ///   - inode: Its number in its file system.
    ///   - byteCount: How long it is.
    ///   - modified: When its bytes were changed last.
    public init(inode: UInt64, byteCount: Int64, modified: WallTime) {
        self.inode = inode
        self.byteCount = byteCount
        self.modified = modified
    }
}

/// How a file is opened.
@nonexhaustive
public enum FileAccess: Hashable, Sendable {
    /// Reading.
    case reading
    /// Writing, from empty: the file is made if it is missing, and its former contents are dropped.
    case replacing
    /// Writing to a file that is made; it is an error if there is one.
    case creating
}

/// A regular file that is open.
///
/// It is closed when it is released, if it was not before. Callable from any thread, one call at a
/// time; every call but ``isCached(_:)`` may block.
public protocol OpenFile: AnyObject, Sendable {
    /// Its descriptor, which is valid as long as the file is not closed: for
    /// ``BackendStream/trySendFile(_:at:byteCount:)``.
    var descriptor: Int32 { get }

    /// How long it is now.
    ///
    /// - Throws: ``IOError`` of operation `read` that names the path.
    func byteCount() throws(IOError) -> Int64

    /// Reads at most `limit` bytes from an offset; empty at the end.
    ///
    /// - Parameters:
    ///   - offset: In bytes from the start, 0 or more.
    ///   - limit: The most bytes to read, at least 1.
    /// - Returns: At least one byte, unless the file ends there.
    /// - Throws: ``IOError`` of operation `read` that names the path.
    func read(at offset: Int64, limit: Int) throws(IOError) -> Bytes

    /// Writes all of `bytes` at an offset; into a pipe, which lacks offsets, behind what is there.
    ///
    /// - Parameters:
    ///   - bytes: Any number; borrowed for the call.
    ///   - offset: In bytes from the start, 0 or more.
    /// - Throws: ``IOError`` of operation `write` that names the path, for example
    ///   ``ErrorCode/noSpace``.
    func write(_ bytes: RawSpan, at offset: Int64) throws(IOError)

    /// Whether reading these bytes would find all of them in memory. Does not block; false where
    /// the system does not say.
    ///
    /// - Parameter range: Offsets in bytes from the start.
    /// - Returns: Whether a read would not wait for the disk.
    func isCached(_ range: Range<Int64>) -> Bool

    /// Reads these bytes into memory, so that who reads them next does not wait for the disk.
    ///
    /// - Parameter range: Offsets in bytes from the start.
    /// - Throws: ``IOError`` of operation `read` that names the path.
    func fetch(_ range: Range<Int64>) throws(IOError)

    /// Closes it, and throws the error of a late write. Called at most once, last.
    ///
    /// - Throws: ``IOError`` of operation `close` that names the path.
    func close() throws(IOError)
}

extension Reactor {
    /// The machine's files.
    ///
    /// - Throws: ``IOError`` if the services cannot be made.
    public var files: any FileSystem {
        get throws(IOError) { try startedServices(for: .open).files }
    }
}

/// For services without files.
struct NoFiles: FileSystem {
    func open(_ path: String, for access: FileAccess) throws(IOError) -> any OpenFile {
        throw IOError(.open, function: "", code: .notSupported, subject: path)
    }
}
