// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

internal import CTorsionUV
internal import TorsionCore

/// The machine's files, by libuv's calls without a callback, which block.
///
/// Not by the guest loop: its requests run on libuv's four threads, which name resolution needs too,
/// while the reactor's own workers are ten and can be more.
struct UVFiles: FileSystem {
    func open(_ path: String, for access: FileAccess) throws(IOError) -> any OpenFile {
        // libuv would take the text up to a zero byte for the path.
        guard !path.utf8.contains(0) else {
            throw IOError(.open, function: "uv_fs_open", code: .invalidArgument, subject: path)
        }
        let mode =
            switch access {
            case .reading: TORSION_UV_FILE_READ
            case .replacing: TORSION_UV_FILE_REPLACE
            case .creating: TORSION_UV_FILE_CREATE
            }
        let descriptor = torsion_uv_file_open(path, mode)
        guard descriptor >= 0 else {
            throw IOError(
                .open, function: "uv_fs_open", code: ErrorCode(libuv: descriptor), subject: path)
        }
        return try checkKind(UVFile(descriptor, path), path, for: access)
    }

    func open(
        _ path: String, beneath folder: String
    ) throws(IOError) -> (file: any OpenFile, status: FileStatus) {
        let subject = folder + "/" + path
        guard !subject.utf8.contains(0) else {
            throw IOError(.open, function: "openat2", code: .invalidArgument, subject: subject)
        }
        let descriptor = torsion_uv_file_open_beneath(folder, path)
        guard descriptor >= 0 else {
            throw IOError(
                .open, function: "openat2", code: ErrorCode(libuv: descriptor), subject: subject)
        }
        let file = try checkKind(UVFile(descriptor, subject), subject, for: .reading)
        var found = torsion_uv_file_status()
        let code = torsion_uv_file_status(descriptor, &found)
        guard code == 0 else {
            throw IOError(
                .open, function: "uv_fs_fstat", code: ErrorCode(libuv: code), subject: subject)
        }
        let modified = WallTime(
            seconds: found.modified_seconds,
            nanoseconds: Int32(truncatingIfNeeded: found.modified_nanoseconds))
        return (
            file,
            FileStatus(inode: found.inode, byteCount: found.byte_count, modified: modified)
        )
    }

    private func checkKind(
        _ file: UVFile, _ path: String, for access: FileAccess
    ) throws(IOError) -> any OpenFile {
        let descriptor = file.descriptor
        switch torsion_uv_file_kind(descriptor) {
        case TORSION_UV_FILE_REGULAR: return file
        // `/dev/null` takes what is written to it, at any offset.
        case TORSION_UV_FILE_OTHER where access != .reading: return file
        case TORSION_UV_FILE_DIRECTORY:
            throw IOError(.open, function: "", code: .isDirectory, subject: path)
        case let code:
            let code = code < 0 ? ErrorCode(libuv: code) : .notSupported
            throw IOError(.open, function: "uv_fs_fstat", code: code, subject: path)
        }
    }
}

/// `@unchecked Sendable`: its descriptor changes only in `close`, the last call.
private final class UVFile: OpenFile, @unchecked Sendable {
    private(set) var descriptor: Int32
    private let path: String

    init(_ descriptor: Int32, _ path: String) {
        self.descriptor = descriptor
        self.path = path
    }

    deinit { if descriptor >= 0 { _ = torsion_uv_file_close(descriptor) } }

    func byteCount() throws(IOError) -> Int64 {
        try check(torsion_uv_file_byte_count(descriptor), .read, "uv_fs_fstat")
    }

    func read(at offset: Int64, limit: Int) throws(IOError) -> Bytes {
        try Bytes(capacity: limit) { (room: inout OutputRawSpan) throws(IOError) in
            let result = room.withUnsafeMutableBytes { bytes, count in
                let result = torsion_uv_file_read(
                    descriptor, bytes.baseAddress, bytes.count, offset)
                count = Int(max(0, result))
                return result
            }
            _ = try check(result, .read, "uv_fs_read")
        }
    }

    func write(_ bytes: RawSpan, at offset: Int64) throws(IOError) {
        var written = 0
        while written < bytes.byteCount {
            let rest = bytes.extracting(written...)
            let result = rest.withUnsafeBytes {
                torsion_uv_file_write(descriptor, $0.baseAddress, $0.count, offset + Int64(written))
            }
            written += Int(try check(result, .write, "uv_fs_write"))
        }
    }

    func isCached(_ range: Range<Int64>) -> Bool {
        torsion_uv_file_is_cached(descriptor, range.lowerBound, range.upperBound) > 0
    }

    func fetch(_ range: Range<Int64>) throws(IOError) {
        let result = torsion_uv_file_fetch(descriptor, range.lowerBound, range.upperBound)
        _ = try check(Int64(result), .read, "uv_fs_read")
    }

    func close() throws(IOError) {
        let result = torsion_uv_file_close(descriptor)
        descriptor = -1
        _ = try check(Int64(result), .close, "uv_fs_close")
    }

    private func check(
        _ result: Int64, _ operation: IOError.Operation, _ function: String
    ) throws(IOError) -> Int64 {
        guard result < 0 else { return result }
        let code = ErrorCode(libuv: Int32(truncatingIfNeeded: result))
        throw IOError(operation, function: function, code: code, subject: path)
    }
}
