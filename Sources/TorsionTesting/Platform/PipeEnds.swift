// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

internal import Glibc

/// Descriptors of the system that a stream is made of, and that a check uses from the other end.
enum PipeEnds {
    /// A new pipe, `pipe(2)`: what is written to `input` is read from `output`.
    static func make() -> (output: Int32, input: Int32) {
        var ends: [Int32] = [0, 0]
        precondition(unsafe pipe(&ends) == 0, "pipe: errno \(errno)")
        return (ends[0], ends[1])
    }

    /// A regular file with these bytes and without a name, read from its start: `mkstemp(3)`.
    static func makeFile(_ bytes: [UInt8]) -> Int32 {
        var path = Array("/tmp/torsion-check-XXXXXX".utf8CString)
        let file = unsafe mkstemp(&path)
        precondition(file >= 0, "mkstemp: errno \(errno)")
        unsafe unlink(&path)
        write(bytes, to: file)
        lseek(file, 0, SEEK_SET)
        return file
    }

    /// Writes all; the pipe must have room for it.
    static func write(_ bytes: [UInt8], to descriptor: Int32) {
        let count = unsafe bytes.withUnsafeBytes {
            unsafe Glibc.write(descriptor, $0.baseAddress, $0.count)
        }
        precondition(count == bytes.count, "write: errno \(errno)")
    }

    /// Reads what is there, at most 64 KiB; waits if there is nothing.
    static func read(from descriptor: Int32) -> [UInt8] {
        unsafe [UInt8](unsafeUninitializedCapacity: 64 * 1024) { buffer, count in
            count = unsafe max(0, Glibc.read(descriptor, buffer.baseAddress, buffer.count))
        }
    }

    static func close(_ descriptor: Int32) { Glibc.close(descriptor) }

    /// Whether reading and writing the descriptor waits.
    static func isBlocking(_ descriptor: Int32) -> Bool {
        fcntl(descriptor, F_GETFL) & O_NONBLOCK == 0
    }

    /// A second name for the same open file, `dup(2)`.
    static func duplicate(_ descriptor: Int32) -> Int32 { dup(descriptor) }
}
