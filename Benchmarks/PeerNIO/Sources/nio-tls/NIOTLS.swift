// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

import NIOCore
import NIOPosix
import NIOSSL
import PeerServer

// The echo over TLS by swift-nio-ssl (BoringSSL) with one event loop, as its own NIOTLSServer writes it. TLS
// 1.3 alone, as the load has it.
//
//     nio-tls CERTIFICATE KEY

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

@main
struct NIOTLS {
    static func main() throws {
        let words = CommandLine.arguments
        guard words.count == 3 else { fatalError("usage: nio-tls CERTIFICATE KEY") }
        var configuration = TLSConfiguration.makeServerConfiguration(
            certificateChain: try NIOSSLCertificate.fromPEMFile(words[1]).map { .certificate($0) },
            privateKey: .privateKey(try NIOSSLPrivateKey(file: words[2], format: .pem)))
        configuration.minimumTLSVersion = .tlsv13
        let context = try NIOSSLContext(configuration: configuration)
        try servePeer("nio-tls") { channel in
            channel.eventLoop.makeCompletedFuture {
                try channel.pipeline.syncOperations.addHandlers(
                    NIOSSLServerHandler(context: context), Echo())
            }
        }
    }
}
