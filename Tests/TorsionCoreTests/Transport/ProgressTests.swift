// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

import Testing
import TorsionCore
import TorsionTesting

/// Keeps its transport.
private final class Holder: StreamProtocol {
    var transport: (any StreamTransport)!
    private(set) var loss: ConnectionLoss?

    func connectionMade(_ transport: any StreamTransport) { self.transport = transport }

    func dataReceived(_ bytes: RawSpan, from transport: any StreamTransport) {}

    func connectionLost(_ why: ConnectionLoss, from transport: any StreamTransport) {
        loss = why
        self.transport = nil
    }
}

private final class Idle: PushProducer {
    func pauseProducing() {}
    func resumeProducing() {}
    func stopProducing() {}
}

/// What goes on, however slowly, and what goes on again.
@Suite struct ProgressTests {
    // S18
    @Test func `a close lasts as long as the peer takes something now and then`() {
        let holder = Holder()
        let peer = MemoryTransport(holder, roomBytes: 0)
        holder.transport.write([UInt8](repeating: 1, count: 10))
        holder.transport.loseConnection()
        for _ in 0..<9 {
            peer.clock.advance(by: .seconds(20))
            #expect(holder.loss == nil)
            peer.drain(1)
        }
        peer.clock.advance(by: .seconds(31))
        peer.clock.advance(by: .seconds(31))
        #expect(holder.loss == .deadlinePassed(.closing))
    }

    @Test func `reading stops when a producer leaves a full queue, and goes on when it drains`() {
        let holder = Holder()
        let peer = MemoryTransport(holder, roomBytes: 0)
        holder.transport.registerProducer(Idle())
        holder.transport.write([UInt8](repeating: 1, count: holder.transport.watermarks.high + 1))
        #expect(peer.isReading)
        holder.transport.unregisterProducer()
        #expect(!peer.isReading)
        peer.drain()
        #expect(peer.isReading)
        peer.peerResets()
    }

    @Test func `reading goes on when a producer takes over a queue that was full`() {
        let holder = Holder()
        let peer = MemoryTransport(holder, roomBytes: 0)
        holder.transport.write([UInt8](repeating: 1, count: holder.transport.watermarks.high + 1))
        #expect(!peer.isReading)
        holder.transport.registerProducer(Idle())
        #expect(peer.isReading)
        peer.peerResets()
    }
}
