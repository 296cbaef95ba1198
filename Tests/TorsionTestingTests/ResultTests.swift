// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

import Testing
import Torsion
import TorsionTesting

@Suite struct ResultTests {
    private struct Failed: Error, Equatable {}
    private let clock = ManualClock()
    private var reactor: Reactor { clock.reactor }

    @Test func `a value that is there is taken, and a failure is thrown`() throws {
        #expect(try result(of: .succeeded(1, on: reactor)) == 1)
        #expect(throws: Failed()) { try result(of: Deferred<Int>.failed(Failed(), on: reactor)) }
        #expect(try failure(of: Deferred<Int>.failed(Failed(), on: reactor)) is Failed)
        #expect(throws: CheckFailure.self) { try failure(of: .succeeded(1, on: reactor)) }
    }

    @Test func `a result that is not there is a failure, and its Deferred is left as it was`()
        throws
    {
        let deferred = Deferred<Int>(on: reactor)
        #expect(throws: CheckFailure.self) { try result(of: deferred) }
        #expect(throws: CheckFailure.self) { try failure(of: deferred) }
        deferred.succeed(2)
        #expect(try result(of: deferred) == 2)
    }

    @Test func `a clean reactor passes, and what is left is counted`() throws {
        try checkClean(reactor)
        let call = reactor.callLater(.seconds(1)) {}
        let task = reactor.spawn { [reactor] in try await reactor.sleep(for: .seconds(1)) }
        clock.turn()
        #expect {
            try checkClean(reactor)
        } throws: { error in
            "\(error)"
                == "the reactor is not clean: 2 delayed calls, 1 tasks, 1 suspended tasks"
        }
        call.cancel()
        task.cancel()
        for _ in 0..<3 { clock.turn() }
        try checkClean(reactor)
    }

    @Test func `a connection that is open is not clean`() throws {
        final class Echo: StreamProtocol {
            func dataReceived(_ bytes: RawSpan, from transport: any StreamTransport) {
                transport.write(bytes)
            }
        }
        let peer = MemoryTransport(Echo(), clock: clock)
        #expect(throws: CheckFailure.self) { try checkClean(reactor) }
        peer.peerCloses()
        clock.turn()
        #expect(!peer.isOpen)
    }
}
