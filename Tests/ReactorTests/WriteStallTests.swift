// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

import TestPrograms
import Testing
import Torsion

/// The README's echo.
private final class Echo: StreamProtocol {
    func dataReceived(_ bytes: RawSpan, from transport: any StreamTransport) {
        transport.write(bytes)
    }
}

/// Writes all that it has in one call, and counts what comes back.
private final class Shouter: StreamProtocol {
    let byteCount: Int
    var received = 0
    var transport: (any StreamTransport)?

    init(byteCount: Int) { self.byteCount = byteCount }

    func connectionMade(_ transport: any StreamTransport) {
        self.transport = transport
        transport.write([UInt8](repeating: 7, count: byteCount))
    }

    func dataReceived(_ bytes: RawSpan, from transport: any StreamTransport) {
        received += bytes.byteCount
    }
}

extension Shouter: PushProducer {
    func pauseProducing() {}
    func resumeProducing() {}
    func stopProducing() {}
}

/// Two ends that write more than they read: see ``Watermarks``.
@Suite struct WriteStallTests {
    private static let byteCount = 16 << 20

    /// Each end throttles its reading until the other has read: neither will.
    ///
    /// This is what the documentation warns of; whoever resolves it one day may change the test.
    @Test(.tags(.slow), arguments: backendNames)
    func `two ends without producers that both write too much stand still, visibly`(
        name: String
    ) throws {
        let reactor = try Reactor.turned(by: name)
        let client = Shouter(byteCount: Self.byteCount)
        let port = try ServerEndpoint(parsing: "tcp:0:interface=127.0.0.1")
            .listen(on: reactor) { Echo() }
        ClientEndpoint.address(port.localAddress).connect(on: reactor) { client }
            .whenFailed { Issue.record("\($0)") }
        #expect(reactor.turn { reactor.statistics.fullConnections == 2 })

        // What the kernel held goes on for a moment; then nothing does.
        var isStill = false
        for _ in 0..<100 where !isStill {
            let before = (client.received, client.transport!.pendingByteCount)
            var isOver = false
            reactor.callLater(.milliseconds(100)) { isOver = true }
            while !isOver { reactor.turn(until: nil) }
            isStill = before == (client.received, client.transport!.pendingByteCount)
        }
        #expect(isStill)
        #expect(client.received < Self.byteCount)
        #expect(reactor.statistics.fullConnections == 2)

        // A producer says that somebody minds the queue: then reading goes on.
        client.transport?.registerProducer(client)
        #expect(reactor.turn { client.received == Self.byteCount })
        #expect(reactor.statistics.fullConnections == 0)
        reactor.shutDown()
    }

    @Test(arguments: backendNames)
    func `a full connection that is lost is none`(name: String) throws {
        let reactor = try Reactor.turned(by: name)
        let server = Witness(), client = Shouter(byteCount: Self.byteCount)
        let port = try ServerEndpoint(parsing: "tcp:0:interface=127.0.0.1")
            .listen(on: reactor) { server }
        ClientEndpoint.address(port.localAddress).connect(on: reactor) { client }
            .whenFailed { Issue.record("\($0)") }
        #expect(reactor.turn { server.transport != nil && client.transport != nil })
        server.transport?.pauseProducing()
        #expect(reactor.turn { reactor.statistics.fullConnections == 1 })
        client.transport?.abortConnection()
        #expect(reactor.turn { reactor.statistics.openConnections == 0 })
        #expect(reactor.statistics.fullConnections == 0)
        reactor.shutDown()
    }
}
