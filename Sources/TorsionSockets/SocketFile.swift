// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

internal import CTorsionSockets
internal import Glibc
internal import TorsionCore

/// The file of a bound UNIX socket: `unix(7)`.
///
/// It is removed with its socket, unless somebody has put another in its place meanwhile.
struct SocketFile {
    private let path: String
    private let device: dev_t
    private let inode: ino_t

    fileprivate init?(path: String) {
        var status = stat()
        guard lstat(path, &status) == 0 else { return nil }
        self.path = path
        device = status.st_dev
        inode = status.st_ino
    }

    func remove() {
        var status = stat()
        guard lstat(path, &status) == 0, status.st_dev == device, status.st_ino == inode else {
            return
        }
        unlink(path)
    }
}

/// Binds a socket that will listen, or receive datagrams.
///
/// The file of a dead UNIX socket is replaced, that of a live one is not.
///
/// `mode`: The file's access mode. Set before `listen(2)`, so that nobody can connect with
/// the mode that the process's mask left; what needs no `listen` limits it by `fchmod(2)` before,
/// which the file inherits.
/// Returns the file of a UNIX socket with a path.
func bindForListening(
    _ descriptor: Int32, to address: SocketAddress, mode: UInt16?,
    kind: __socket_type = SOCK_STREAM
) throws(IOError) -> SocketFile? {
    var result = address.withSockaddr { bind(descriptor, $0, $1) }
    guard case .unix(.path(let path)) = address else {
        guard result == 0 else { throw lastError(.listen, "bind", address) }
        return nil
    }
    if result != 0, errno == EADDRINUSE, isDeadSocket(address, path, kind) {
        unlink(path)
        result = address.withSockaddr { bind(descriptor, $0, $1) }
    }
    guard result == 0 else { throw lastError(.listen, "bind", address) }
    let file = SocketFile(path: path)
    if let mode, chmod(path, mode_t(mode)) != 0 {
        defer { file?.remove() }
        throw lastError(.listen, "chmod", address)
    }
    return file
}

/// Whether the file is a socket at which nobody listens.
///
/// One of another kind is told apart, `EPROTOTYPE`, and left alone.
private func isDeadSocket(
    _ address: SocketAddress, _ path: String, _ kind: __socket_type
) -> Bool {
    var status = stat()
    guard lstat(path, &status) == 0, status.st_mode & S_IFMT == S_IFSOCK else {
        errno = EADDRINUSE
        return false
    }
    let probe = socket(AF_UNIX, socketKind(kind), 0)
    guard probe >= 0 else { return false }
    defer { close(probe) }
    let isRefused =
        address.withSockaddr { connect(probe, $0, $1) } != 0 && errno == ECONNREFUSED
    errno = EADDRINUSE
    return isRefused
}
