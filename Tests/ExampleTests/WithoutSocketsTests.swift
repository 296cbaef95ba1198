// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors
import Testing
import Torsion
import TorsionTesting

/// Answers `PING` with `PONG`, and hangs up on who says nothing for a minute.
final class Pong: LineProtocol {
    let lines = LineDecoder()
    private var silence: DelayedCall?

    func connectionMade(_ transport: any StreamTransport) {
        silence = transport.reactor.callLater(.seconds(60)) { transport.loseConnection() }
    }

    func lineReceived(_ line: RawSpan, from transport: any StreamTransport) {
        silence?.reset(after: .seconds(60))
        transport.write(line == "PING" ? "PONG\r\n" : "what?\r\n")
    }
}

@Test func `a ping is answered, however it is cut`() {
    for pieces in chunkings(of: "PING\r\n") {
        let peer = MemoryTransport(Pong())
        peer.receive(pieces: pieces)
        #expect(peer.takeText() == "PONG\r\n")
    }
}

@Test func `who is silent for a minute is hung up on, no sooner`() {
    let peer = MemoryTransport(Pong())
    peer.clock.advance(by: .seconds(59))
    peer.receive("PING\r\n")
    peer.clock.advance(by: .seconds(59))
    #expect(!peer.hasEnded)
    peer.clock.advance(by: .seconds(1))
    #expect(peer.hasEnded)
}
