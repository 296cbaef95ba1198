// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

import Glibc
import NIOCore
import NIOPosix

// A small Redis over SwiftNIO with one event loop, for the commands that are measured: GET, SET, PING. A
// decoder cuts commands as slices of what arrived, a handler answers each and flushes in
// `channelReadComplete`, as its documentation shows protocols to be written. The backlog and TCP_NODELAY
// are those of the other servers.

private struct CommandDecoder: NIOSingleStepByteToMessageDecoder {
    typealias InboundOut = [ByteBuffer]

    struct Malformed: Error {}

    mutating func decode(buffer: inout ByteBuffer) throws -> [ByteBuffer]? {
        let start = buffer.readerIndex
        guard let count = try readCount(UInt8(ascii: "*"), &buffer) else {
            buffer.moveReaderIndex(to: start)
            return nil
        }
        var words: [ByteBuffer] = []
        words.reserveCapacity(count)
        for _ in 0..<count {
            guard let length = try readCount(UInt8(ascii: "$"), &buffer),
                buffer.readableBytes >= length + 2, let word = buffer.readSlice(length: length)
            else {
                buffer.moveReaderIndex(to: start)
                return nil
            }
            guard buffer.readInteger(as: UInt16.self) == 0x0d0a else { throw Malformed() }
            words.append(word)
        }
        return words
    }

    mutating func decodeLast(buffer: inout ByteBuffer, seenEOF: Bool) throws -> [ByteBuffer]? {
        try decode(buffer: &buffer)
    }

    /// A mark, a number from 0 to 1,048,576 and the line's end; nil if it is not complete.
    private func readCount(_ mark: UInt8, _ buffer: inout ByteBuffer) throws -> Int? {
        guard let first = buffer.readInteger(as: UInt8.self) else { return nil }
        guard first == mark else { throw Malformed() }
        var count = 0
        while let byte = buffer.readInteger(as: UInt8.self) {
            if byte == 0x0d {
                guard let end = buffer.readInteger(as: UInt8.self) else { return nil }
                guard end == 0x0a else { throw Malformed() }
                return count
            }
            guard (0x30...0x39).contains(byte) else { throw Malformed() }
            count = count * 10 + Int(byte - 0x30)
            guard count <= 1 << 20 else { throw Malformed() }
        }
        return nil
    }
}

/// What the connections share; on the one event loop.
private final class Store {
    var values: [ByteBuffer: ByteBuffer] = [:]
}

private final class Redis: ChannelInboundHandler {
    typealias InboundIn = [ByteBuffer]
    typealias OutboundOut = ByteBuffer

    private let store: Store

    init(_ store: Store) { self.store = store }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        let words = unwrapInboundIn(data)
        var answer = context.channel.allocator.buffer(capacity: 64)
        switch (words.first.map { String(buffer: $0).uppercased() }, words.count) {
        case ("GET", 2):
            if let value = store.values[words[1]] {
                answer.writeString("$\(value.readableBytes)\r\n")
                answer.writeImmutableBuffer(value)
                answer.writeString("\r\n")
            } else {
                answer.writeString("$-1\r\n")
            }
        case ("SET", 3):
            // A slice would keep all that arrived with it.
            store.values[ByteBuffer(bytes: words[1].readableBytesView)] =
                ByteBuffer(bytes: words[2].readableBytesView)
            answer.writeString("+OK\r\n")
        case ("PING", 1):
            answer.writeString("+PONG\r\n")
        default:
            answer.writeString("-ERR unknown command\r\n")
        }
        context.write(wrapOutboundOut(answer), promise: nil)
    }

    func channelReadComplete(context: ChannelHandlerContext) {
        context.flush()
    }

    func errorCaught(context: ChannelHandlerContext, error: any Error) {
        context.close(promise: nil)
    }
}

@main
struct NIORedis {
    static func main() throws {
        signal(SIGTERM) { _ in _exit(0) }
        let group = MultiThreadedEventLoopGroup(numberOfThreads: 1)
        let store = NIOLoopBound(Store(), eventLoop: group.next())
        let listener = try ServerBootstrap(group: group)
            .serverChannelOption(.backlog, value: 4096)
            .serverChannelOption(.socketOption(.so_reuseaddr), value: 1)
            .childChannelOption(.tcpOption(.tcp_nodelay), value: 1)
            .childChannelInitializer { channel in
                channel.eventLoop.makeCompletedFuture {
                    let handlers = channel.pipeline.syncOperations
                    try handlers.addHandler(ByteToMessageHandler(CommandDecoder()))
                    try handlers.addHandler(Redis(store.value))
                }
            }
            .bind(host: "127.0.0.1", port: 0).wait()
        print("listening on 127.0.0.1:\(listener.localAddress?.port ?? 0) backend=nio threads=1")
        fflush(nil)
        try listener.closeFuture.wait()
    }
}
