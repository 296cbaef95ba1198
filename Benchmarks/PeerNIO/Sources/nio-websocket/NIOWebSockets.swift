// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

import NIOCore
import NIOHTTP1
import NIOPosix
import NIOWebSocket
import PeerServer

// SwiftNIO's echo of a WebSocket's messages with one event loop: any request may be upgraded, as in its own
// NIOWebSocketServer, and a handler answers the frames. That server reads them by tasks, which costs
// more. Messages in fragments, which the load does not send, are not put together.

private final class EchoFrames: ChannelInboundHandler {
    typealias InboundIn = WebSocketFrame
    typealias OutboundOut = WebSocketFrame

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        let frame = unwrapInboundIn(data)
        switch frame.opcode {
        case .text, .binary: write(frame.opcode, frame.unmaskedData, context)
        case .ping: write(.pong, frame.unmaskedData, context)
        case .connectionClose:
            var reason = frame.unmaskedData
            write(.connectionClose, reason.readSlice(length: 2) ?? ByteBuffer(), context)
            context.close(promise: nil)
        case .pong: break
        default: context.close(promise: nil)
        }
    }

    private func write(
        _ opcode: WebSocketOpcode, _ data: ByteBuffer, _ context: ChannelHandlerContext
    ) {
        let frame = WebSocketFrame(fin: true, opcode: opcode, data: data)
        context.write(wrapOutboundOut(frame), promise: nil)
    }

    func channelReadComplete(context: ChannelHandlerContext) {
        context.flush()
    }

    func errorCaught(context: ChannelHandlerContext, error: any Error) {
        context.close(promise: nil)
    }
}

@main
struct NIOWebSockets {
    static func main() throws {
        let upgrader = NIOWebSocketServerUpgrader(
            shouldUpgrade: { channel, _ in channel.eventLoop.makeSucceededFuture(HTTPHeaders()) },
            upgradePipelineHandler: { channel, _ in
                channel.eventLoop.makeCompletedFuture {
                    try channel.pipeline.syncOperations.addHandler(EchoFrames())
                }
            })
        try servePeer("nio-websocket") { channel in
            channel.pipeline.configureHTTPServerPipeline(
                withServerUpgrade: (upgraders: [upgrader], completionHandler: { _ in }))
        }
    }
}
