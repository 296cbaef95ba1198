// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors
import Testing
import Torsion
import TorsionTesting

// snippet: throwing
/// What a peer must not send.
struct NotANumber: Error { let text: String }

/// Adds up the numbers that a peer sends, a line each.
final class Adder: LineProtocol {
    let lines = LineDecoder()
    private var sum = 0

    func lineReceived(_ line: RawSpan, from transport: any StreamTransport) throws {
        let text = String(decoding: line)
        guard let number = Int(text) else { throw NotANumber(text: text) }
        sum += number
        transport.write("\(sum)\r\n")
    }

    func connectionLost(_ why: ConnectionLoss, from transport: any StreamTransport) {
        if !why.isClean { print("\(transport.peerAddress): \(why)") }
    }
}
// snippet end

@Test func `bad input aborts the connection`() {
    let peer = MemoryTransport(Adder())
    peer.receive("1\r\n2\r\n")
    #expect(peer.takeText() == "1\r\n3\r\n")
    peer.receive("three\r\n")
    #expect(peer.wasReset)
}

// snippet: reasons
func words(for why: ConnectionLoss) -> String {
    switch why {
    case .closedByPeer: "the peer has sent everything"
    case .closedLocally: "the kernel has everything we wrote"
    case .aborted: "we gave up"
    case .failed(let error) where error.code == .connectionReset: "the peer gave up"
    case .failed(let error): "the network: \(error)"
    case .truncated: "the peer ended, and something may be missing"
    case .deadlinePassed(let deadline): "too slow: \(deadline)"
    case .writeLimitExceeded: "the peer does not read, and we wrote on"
    case .protocolFailed(let error): "we threw: \(error)"
    @unknown default: "\(why)"
    }
}
// snippet end

@Test func `every reason has its words`() {
    #expect(words(for: .aborted) == "we gave up")
    let reset = IOError(.read, function: "recv", code: .connectionReset)
    #expect(words(for: .failed(reset)) == "the peer gave up")
}

func stopGracefully(_ reactor: Reactor) {
    // snippet: unhandled
    reactor.unhandledError = { unhandled in
        print("\(unhandled.context): \(unhandled.error)")
    }
    // snippet end
}

func recover(_ page: Deferred<String>) -> Deferred<String> {
    // snippet: errback
    page
        .addErrback(of: TimeoutError.self) { _ in "it took too long" }
        .addErrback { error in "it failed: \(error)" }
    // snippet end
}

@Test func `an errback recovers from its own type of error`() {
    let clock = ManualClock()
    var text = ""
    recover(.failed(TimeoutError(limit: .seconds(1)), on: clock.reactor)).addCallback { text = $0 }
    #expect(text == "it took too long")
}
