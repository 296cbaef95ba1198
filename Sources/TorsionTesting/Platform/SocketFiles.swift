// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

internal import Glibc

/// A folder for the file of a socket, which is removed with it.
struct SocketFolder {
    private let folder: String

    init() {
        var template = Array("/tmp/torsion-check-XXXXXX".utf8CString)
        precondition(unsafe mkdtemp(&template) != nil, "mkdtemp: errno \(errno)")
        folder = String(decoding: template.dropLast().map { UInt8(bitPattern: $0) }, as: UTF8.self)
    }

    var path: String { folder + "/socket" }

    func remove() {
        unsafe unlink(path)
        unsafe rmdir(folder)
    }
}

/// Leaves the file of a socket for datagrams that nobody has open any more.
func leaveDeadSocketFile(_ path: String) {
    let descriptor = socket(AF_UNIX, Int32(SOCK_DGRAM.rawValue), 0)
    var address = sockaddr_un()
    address.sun_family = sa_family_t(AF_UNIX)
    unsafe withUnsafeMutableBytes(of: &address.sun_path) { room in
        precondition(path.utf8.count < room.count, "the path is too long")
        unsafe room.copyBytes(from: path.utf8)
    }
    let result = unsafe withUnsafePointer(to: &address) { pointer in
        unsafe pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) {
            unsafe bind(descriptor, $0, socklen_t(MemoryLayout<sockaddr_un>.size))
        }
    }
    precondition(result == 0, "bind: errno \(errno)")
    close(descriptor)
}

/// The access mode of a file, nil if there is none.
func fileMode(_ path: String) -> UInt32? {
    var status = stat()
    return unsafe lstat(path, &status) == 0 ? status.st_mode & 0o777 : nil
}
