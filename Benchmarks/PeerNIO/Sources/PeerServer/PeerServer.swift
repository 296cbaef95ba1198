// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

import Glibc
import NIOCore
import NIOPosix

/// Serves on one event loop until SIGTERM, and prints where.
///
/// The backlog and TCP_NODELAY are those of the other servers, so that the engines are compared and not
/// their defaults.
///
/// - Parameters:
///   - name: What the server is called in the line that it prints.
///   - readsOnce: Whether a connection is read once an event, as NIOHTTP1Server has it.
///   - initializer: Sets up a connection's pipeline.
/// - Throws: Why the server could not listen.
public func servePeer(
    _ name: String, readsOnce: Bool = false,
    _ initializer: @escaping @Sendable (any Channel) -> EventLoopFuture<Void>
) throws {
    signal(SIGTERM) { _ in _exit(0) }
    var bootstrap = ServerBootstrap(group: MultiThreadedEventLoopGroup(numberOfThreads: 1))
        .serverChannelOption(.backlog, value: 4096)
        .serverChannelOption(.socketOption(.so_reuseaddr), value: 1)
        .childChannelOption(.tcpOption(.tcp_nodelay), value: 1)
        .childChannelInitializer(initializer)
    if readsOnce { bootstrap = bootstrap.childChannelOption(.maxMessagesPerRead, value: 1) }
    let listener = try bootstrap.bind(host: "127.0.0.1", port: 0).wait()
    print("listening on 127.0.0.1:\(listener.localAddress?.port ?? 0) backend=\(name) threads=1")
    fflush(nil)
    try listener.closeFuture.wait()
}
