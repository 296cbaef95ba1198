// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

import Glibc
import Hummingbird
import Logging
import NIOCore
import NIOPosix

// Hummingbird's hello with one event loop, as its own PerformanceTest writes it, without a middleware that
// logs. It adds `Date` itself. The backlog is that of the other servers; TCP_NODELAY is SwiftNIO's default.

@main
struct HummingbirdHello {
    static func main() async throws {
        signal(SIGTERM) { _ in _exit(0) }
        let router = Router()
        router.get { _, _ in "Hello, World!" }
        router.post { _, _ in "Hello, World!" }
        var logger = Logger(label: "hello")
        logger.logLevel = .error
        let application = Application(
            router: router,
            configuration: .init(address: .hostname("127.0.0.1", port: 0), backlog: 4096),
            onServerRunning: { channel in
                let port = channel.localAddress?.port ?? 0
                print("listening on 127.0.0.1:\(port) backend=hummingbird threads=1")
                fflush(nil)
            },
            eventLoopGroupProvider: .shared(MultiThreadedEventLoopGroup(numberOfThreads: 1)),
            logger: logger)
        try await application.run()
    }
}
