// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors
import Testing
import Torsion
import TorsionTesting

// snippet: idle
/// Ends a connection that has been silent for a minute.
final class Impatient: StreamProtocol {
    private var silence: DelayedCall?

    func connectionMade(_ transport: any StreamTransport) {
        silence = transport.reactor.callLater(.seconds(60)) {
            transport.write("You are silent. Bye.\r\n")
            transport.loseConnection()
        }
    }

    func dataReceived(_ bytes: RawSpan, from transport: any StreamTransport) {
        // Moves the call; cheaper than cancelling it and making another.
        silence?.reset(after: .seconds(60))
    }

    func connectionLost(_ why: ConnectionLoss, from transport: any StreamTransport) {
        silence?.cancel()
    }
}
// snippet end

// snippet: clock
@Test func `a silent connection is ended after a minute`() {
    let clock = ManualClock()
    let peer = MemoryTransport(Impatient(), clock: clock)
    clock.advance(by: .seconds(50))
    peer.receive("I am here")
    clock.advance(by: .seconds(50))
    #expect(peer.takeText() == "")
    clock.advance(by: .seconds(10))
    #expect(peer.takeText() == "You are silent. Bye.\r\n")
}
// snippet end

// snippet: beat
/// Sends a line every ten seconds as long as the connection lives.
final class Beating: StreamProtocol {
    private var beat: LoopingCall?

    func connectionMade(_ transport: any StreamTransport) {
        let beat = LoopingCall(on: transport.reactor) { transport.write("beat\r\n") }
        // An error of the closure ends the loop, and arrives here.
        beat.start(every: .seconds(10), first: .afterInterval)
            .whenFailed { error in print("\(error)") }
        self.beat = beat
    }

    func dataReceived(_ bytes: RawSpan, from transport: any StreamTransport) {}

    func connectionLost(_ why: ConnectionLoss, from transport: any StreamTransport) {
        beat?.stop()
    }
}
// snippet end

@Test func `a loop beats until the connection is lost`() {
    let clock = ManualClock()
    let peer = MemoryTransport(Beating(), clock: clock)
    for _ in 0..<3 { clock.advance(by: .seconds(10)) }
    #expect(peer.takeText() == "beat\r\nbeat\r\nbeat\r\n")
    peer.peerCloses()
    clock.advance(by: .seconds(100))
    #expect(clock.reactor.statistics.delayedCalls == 0)
}
