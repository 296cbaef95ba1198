// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

internal import CTorsionSockets
internal import Glibc
@_spi(Backend) internal import TorsionCore

/// The file of a bound UNIX socket: `unix(7)`.
///
/// It is removed with its socket, unless somebody has put another in its place meanwhile.
struct SocketFile {
    private let path: String
    private let device: dev_t
    private let inode: ino_t

    /// The file of an address, if it has one.
    init?(at address: SocketAddress) {
        guard case .unix(.path(let path)) = address else { return nil }
        self.init(path: path)
    }

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
    _ descriptor: Int32, to address: SocketAddress, mode: UInt16?
) throws(IOError) -> SocketFile? {
    var result = address.withSockaddr { bind(descriptor, $0, $1) }
    guard case .unix(.path(let path)) = address else {
        guard result == 0 else { throw lastError(.listen, "bind", address) }
        return nil
    }
    if result != 0, errno == EADDRINUSE, isDeadSocket(address, path) {
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

/// Whether the file is that of a socket which is no more.
///
/// Connecting tells, and must not be a client to whoever serves there: a server may act on one that
/// says nothing. So a socket for datagrams connects, which sends nothing by that. One of any other
/// kind that lives refuses it by its kind (EPROTOTYPE), also while its backlog is full or it does not
/// listen yet; one for datagrams hears nothing of it. Only where none lives is it ECONNREFUSED:
/// `unix_find_bsd` in the kernel.
private func isDeadSocket(_ address: SocketAddress, _ path: String) -> Bool {
    defer { errno = EADDRINUSE }
    var status = stat()
    guard lstat(path, &status) == 0, status.st_mode & S_IFMT == S_IFSOCK else { return false }
    let probe = socket(AF_UNIX, socketKind(SOCK_DGRAM), 0)
    guard probe >= 0 else { return false }
    defer { close(probe) }
    return address.withSockaddr { connect(probe, $0, $1) } != 0 && errno == ECONNREFUSED
}
