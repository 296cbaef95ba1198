// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

internal import CTorsionSockets
internal import Glibc
@_spi(Backend) package import TorsionCore

/// A bound socket that listens, and the file of a UNIX one.
package struct ListeningSocket {
    /// Non-blocking, closed on exec.
    package let descriptor: Int32
    /// With the port that the kernel chose.
    package let localAddress: SocketAddress
    /// This end of every connection that is accepted here; nil if they can differ.
    package let acceptedAddress: SocketAddress?
    private var file: SocketFile?
    /// Whether other sockets may listen at the same port, and nobody else has this one.
    private let sharesPort: Bool

    /// Binds and listens: `bind(2)`, `listen(2)`.
    ///
    /// - Throws: ``IOError`` of operation `listen`, naming the address.
    package init(_ address: SocketAddress, _ options: StreamOptions) throws(IOError) {
        let descriptor = try makeSocket(for: address, .listen)
        var bound: SocketFile?
        let ownAddress: SocketAddress
        do throws(IOError) {
            // Accepted sockets inherit these on Linux: one system call less for each.
            try configure(descriptor, for: address, options, .listen)
            bound = try bindForListening(descriptor, to: address, mode: options.unixMode)
            let backlog = Int32(clamping: options.backlog)
            guard Glibc.listen(descriptor, backlog) == 0 else {
                throw lastError(.listen, "listen", address)
            }
            // The port that the kernel chose.
            ownAddress = try boundAddress(of: descriptor, .listen, subject: "\(address)")
        } catch {
            bound?.remove()
            Glibc.close(descriptor)
            throw error
        }
        self.descriptor = descriptor
        localAddress = ownAddress
        acceptedAddress = localAddress.isOneEnd ? localAddress : nil
        file = bound
        sharesPort = options.reusePort && address.port != nil
    }

    /// One that listens already; its file, if it has one, is whoever's who made it.
    init(adopted descriptor: Int32, at address: SocketAddress) {
        self.descriptor = descriptor
        localAddress = address
        // Whoever made it may take connections to any address there (`IP_TRANSPARENT`, ip(7)).
        acceptedAddress = nil
        file = nil
        sharesPort = false
    }

    /// Whether closing it removes its file.
    package var ownsFile: Bool {
        get { file != nil }
        set { file = newValue ? SocketFile(at: localAddress) : nil }
    }

    /// It closes soon: whoever connects from now on finds another socket of the port, a second later.
    package func leaveLaterClients() {
        // A kernel that refuses closes the socket as ever, and may reset some.
        if sharesPort { _ = torsion_drop_first_packets(descriptor) }
    }

    /// Closes it; its file is removed before, so that a client that connects in between is refused,
    /// not lost.
    package func close() {
        file?.remove()
        Glibc.close(descriptor)
    }
}

/// Accepts whoever waits at a listening socket: `accept4(2)` until it would wait.
///
/// - Returns: Descriptors and addresses; fewer than `limit` when none is left, or descriptors or memory
///   have run out.
package func acceptWaiting(
    limit: Int, from descriptor: Int32
) -> [(descriptor: Int32, peer: SocketAddress)] {
    var result: [(Int32, SocketAddress)] = []
    // An error about one client, who has gone, is no end; but a batch of nothing else would be.
    for _ in 0..<limit {
        var address = sockaddr_storage()
        var size = socklen_t(MemoryLayout<sockaddr_storage>.size)
        let accepted = torsion_accept(descriptor, &address, &size)
        if accepted >= 0 {
            result.append((accepted, SocketAddress(address, size: size)))
        } else {
            let code = ErrorCode(errno: errno)
            if code == .wouldBlock || code.isAcceptShortage { break }
        }
    }
    return result
}

extension ErrorCode {
    /// Whether `accept(2)` fails for want of descriptors or memory, and not because of one client.
    package var isAcceptShortage: Bool {
        switch self {
        case .tooManyOpenFiles, .tooManyOpenFilesInSystem, .outOfMemory, .noBufferSpace: true
        default: false
        }
    }
}
