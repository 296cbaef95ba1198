// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

import Testing
import TorsionCore
import TorsionTesting

private final class Quiet: StreamProtocol {
    func dataReceived(_ bytes: RawSpan, from transport: any StreamTransport) {}
}

@Suite struct ThrottleTests {
    private static let much = [UInt8](repeating: 1, count: 100_000)

    @Test func `a transport that cannot send stops reading until it can`() {
        let peer = MemoryTransport(Quiet(), roomBytes: 0)
        peer.transport.write(Self.much)
        #expect(!peer.isReading)
        peer.drain(50_000)
        #expect(!peer.isReading)
        peer.drain()
        #expect(peer.isReading)
    }

    @Test func `one that has written all it will reads on while it sends`() {
        let peer = MemoryTransport(Quiet(), roomBytes: 0)
        peer.transport.write(Self.much)
        peer.transport.loseWriteConnection()
        #expect(peer.isReading && !peer.hasEnded)
        peer.transport.pauseProducing()
        #expect(!peer.isReading)
        peer.transport.resumeProducing()
        #expect(peer.isReading)
        peer.drain()
        #expect(peer.hasEnded && peer.isOpen && peer.takeBytes().count == Self.much.count)
    }

    /// Twisted's way to say what a transport does here by itself.
    @Test(arguments: [false, true])
    func `one that is its own producer closes when everything has left`(isHalf: Bool) {
        let peer = MemoryTransport(Quiet(), roomBytes: 0)
        let transport: any StreamTransport = peer.transport
        transport.registerProducer(transport)
        transport.write(Self.much)
        #expect(!peer.isReading, "it has paused itself")
        peer.drain(50_000)
        #expect(!peer.isReading)
        if isHalf { transport.loseWriteConnection() } else { transport.loseConnection() }
        transport.write("behind the close")
        peer.clock.turn()
        peer.drain()
        peer.clock.turn()
        #expect(peer.hasEnded && peer.takeBytes().count == Self.much.count)
        #expect(peer.isReading && peer.isOpen == isHalf)
        peer.clock.reactor.checkInvariants()
    }
}
