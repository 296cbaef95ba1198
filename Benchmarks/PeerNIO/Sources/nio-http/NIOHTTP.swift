// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

import Glibc
import NIOCore
import NIOHTTP1
import NIOPosix
import PeerServer

// SwiftNIO's hello with one event loop, as its own NIOHTTP1Server writes it: the head is written when the
// request's head has come, the body and the end behind the request's end, and each answer is flushed. The
// fields are those of the example HTTPHello. With `--files FOLDER` it serves files by sendfile, as that
// server does under `/sendfile/`.

/// The field `Date`, which is formatted once a second.
private final class DateField {
    private var second: time_t = 0
    private var text = ""

    var value: String {
        var now = time(nil)
        guard now != second else { return text }
        second = now
        var parts = tm()
        gmtime_r(&now, &parts)
        text = withUnsafeTemporaryAllocation(of: CChar.self, capacity: 40) { bytes in
            _ = strftime(bytes.baseAddress!, bytes.count, "%a, %d %b %Y %H:%M:%S GMT", &parts)
            return String(cString: bytes.baseAddress!)
        }
        return text
    }
}

/// What the two kinds of answer share.
private class Answering: ChannelInboundHandler {
    typealias InboundIn = HTTPServerRequestPart
    typealias OutboundOut = HTTPServerResponsePart

    private let date: DateField
    fileprivate var keepsAlive = true

    init(_ date: DateField) { self.date = date }

    func makeHead(for request: HTTPRequestHead, type: String, length: Int) -> HTTPResponseHead {
        var head = HTTPResponseHead(version: request.version, status: .ok)
        head.headers.add(name: "Content-Type", value: type)
        head.headers.add(name: "Content-Length", value: "\(length)")
        head.headers.add(name: "Date", value: date.value)
        if !request.isKeepAlive { head.headers.add(name: "Connection", value: "close") }
        return head
    }

    func complete(_ context: ChannelHandlerContext) {
        guard !keepsAlive else {
            return context.writeAndFlush(wrapOutboundOut(.end(nil)), promise: nil)
        }
        let bound = context.loopBound
        context.writeAndFlush(wrapOutboundOut(.end(nil))).whenComplete { _ in
            bound.value.close(promise: nil)
        }
    }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {}

    func channelReadComplete(context: ChannelHandlerContext) {
        context.flush()
    }

    func errorCaught(context: ChannelHandlerContext, error: any Error) {
        context.close(promise: nil)
    }
}

private final class Hello: Answering {
    private var buffer = ByteBuffer()

    func handlerAdded(context: ChannelHandlerContext) {
        buffer = context.channel.allocator.buffer(capacity: 0)
    }

    override func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        switch unwrapInboundIn(data) {
        case .head(let request):
            keepsAlive = request.isKeepAlive
            buffer.clear()
            buffer.writeString("Hello, World!")
            let head = makeHead(for: request, type: "text/plain", length: buffer.readableBytes)
            context.write(wrapOutboundOut(.head(head)), promise: nil)
        case .body: break
        case .end:
            context.write(wrapOutboundOut(.body(.byteBuffer(buffer.slice()))), promise: nil)
            complete(context)
        }
    }
}

private final class Files: Answering {
    private let fileIO: NonBlockingFileIO
    private let folder: String

    init(_ date: DateField, _ fileIO: NonBlockingFileIO, folder: String) {
        self.fileIO = fileIO
        self.folder = folder
        super.init(date)
    }

    override func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        guard case .head(let request) = unwrapInboundIn(data) else { return }
        keepsAlive = request.isKeepAlive
        guard !request.uri.contains("..") else { return context.close(promise: nil) }
        let bound = NIOLoopBound((self, context), eventLoop: context.eventLoop)
        let opening = fileIO.openFile(
            _deprecatedPath: folder + request.uri, eventLoop: context.eventLoop)
        opening.whenFailure { _ in bound.value.1.close(promise: nil) }
        opening.whenSuccess { file, region in
            let (files, context) = bound.value
            let head = files.makeHead(
                for: request, type: "application/octet-stream", length: region.readableBytes)
            context.write(files.wrapOutboundOut(.head(head)), promise: nil)
            context.writeAndFlush(files.wrapOutboundOut(.body(.fileRegion(region))))
                .whenComplete { result in
                    try? file.close()
                    let (files, context) = bound.value
                    switch result {
                    case .success: files.complete(context)
                    case .failure: context.close(promise: nil)
                    }
                }
        }
    }
}

@main
struct NIOHTTP {
    static func main() throws {
        let words = CommandLine.arguments
        let folder = words.count == 3 && words[1] == "--files" ? words[2] : nil
        let fileIO = NonBlockingFileIO(threadPool: .singleton)
        try servePeer("nio-http", readsOnce: true) { channel in
            channel.pipeline.configureHTTPServerPipeline(withErrorHandling: true)
                .flatMapThrowing {
                    let date = DateField()
                    let handler =
                        folder.map { Files(date, fileIO, folder: $0) as Answering } ?? Hello(date)
                    try channel.pipeline.syncOperations.addHandler(handler)
                }
        }
    }
}
