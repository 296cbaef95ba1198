// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

import Glibc
import NIOCore
import NIOPosix

// SwiftNIO's echo, as its own NIOEchoServer writes it, with one event loop: bytes are written in
// `channelRead` and flushed in `channelReadComplete`. The backlog and TCP_NODELAY are those of the
// other servers, so that the engines are compared and not their defaults. With `--async` the
// connections are NIOAsyncChannels, each served by a task on the global executor, as its
// documentation shows it. With `--udp` it echoes datagrams, as its own NIOUDPEchoServer does: a
// `recvfrom` each, unless `--vectored` asks for 32 at once, with a buffer that has 2 KiB for each.

private final class Echo: ChannelInboundHandler {
    typealias InboundIn = ByteBuffer
    typealias OutboundOut = ByteBuffer

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        context.write(data, promise: nil)
    }

    func channelReadComplete(context: ChannelHandlerContext) {
        context.flush()
    }

    func errorCaught(context: ChannelHandlerContext, error: any Error) {
        context.close(promise: nil)
    }
}

private final class DatagramEcho: ChannelInboundHandler {
    typealias InboundIn = AddressedEnvelope<ByteBuffer>
    typealias OutboundOut = AddressedEnvelope<ByteBuffer>

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        // Whom it came from is whom it goes to: the envelope can be sent as it is.
        context.write(data, promise: nil)
    }

    func channelReadComplete(context: ChannelHandlerContext) {
        context.flush()
    }

    func errorCaught(context: ChannelHandlerContext, error: any Error) {
        context.close(promise: nil)
    }
}

@main
struct NIOEcho {
    /// Not async: the main thread of an async program becomes one of Dispatch's, which valgrind 3.19
    /// does not survive.
    static func main() throws {
        signal(SIGTERM) { _ in _exit(0) }
        if CommandLine.arguments.contains("--udp") {
            try serveDatagrams(isVectored: CommandLine.arguments.contains("--vectored"))
        } else if CommandLine.arguments.contains("--async") {
            Task.detached { try await serveAsync() }
            while true { pause() }
        } else {
            try serve()
        }
    }

    private static func makeBootstrap() -> ServerBootstrap {
        ServerBootstrap(group: MultiThreadedEventLoopGroup(numberOfThreads: 1))
            .serverChannelOption(.backlog, value: 4096)
            .serverChannelOption(.socketOption(.so_reuseaddr), value: 1)
            .childChannelOption(.tcpOption(.tcp_nodelay), value: 1)
    }

    private static func serve() throws {
        let listener = try makeBootstrap().childChannelInitializer { channel in
            channel.eventLoop.makeCompletedFuture {
                try channel.pipeline.syncOperations.addHandler(Echo())
            }
        }.bind(host: "127.0.0.1", port: 0).wait()
        announce(listener, backend: "nio")
        try listener.closeFuture.wait()
    }

    private static func serveAsync() async throws {
        let listener = try await makeBootstrap().bind(host: "127.0.0.1", port: 0) { channel in
            channel.eventLoop.makeCompletedFuture {
                try NIOAsyncChannel<ByteBuffer, ByteBuffer>(wrappingChannelSynchronously: channel)
            }
        }
        announce(listener.channel, backend: "nio-async")
        try await withThrowingDiscardingTaskGroup { tasks in
            try await listener.executeThenClose { connections in
                for try await connection in connections {
                    tasks.addTask {
                        // A connection that the client reset is the client's affair.
                        try? await connection.executeThenClose { inbound, outbound in
                            for try await bytes in inbound { try await outbound.write(bytes) }
                        }
                    }
                }
            }
        }
    }

    private static func serveDatagrams(isVectored: Bool) throws {
        let group = MultiThreadedEventLoopGroup(numberOfThreads: 1)
        var bootstrap = DatagramBootstrap(group: group)
            .channelOption(.socketOption(.so_reuseaddr), value: 1)
            .channelInitializer { channel in
                channel.eventLoop.makeCompletedFuture {
                    try channel.pipeline.syncOperations.addHandler(DatagramEcho())
                }
            }
        if isVectored {
            let count = 32
            bootstrap =
                bootstrap
                .channelOption(.datagramVectorReadMessageCount, value: count)
                .channelOption(
                    .recvAllocator, value: FixedSizeRecvByteBufferAllocator(capacity: count * 2048))
        }
        let port = try bootstrap.bind(host: "127.0.0.1", port: 0).wait()
        announce(port, backend: isVectored ? "nio-vectored" : "nio")
        try port.closeFuture.wait()
    }

    private static func announce(_ listener: any Channel, backend: String) {
        let port = listener.localAddress?.port ?? 0
        print("listening on 127.0.0.1:\(port) backend=\(backend) threads=1")
        fflush(nil)
    }
}
