// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

import Testing
import TorsionTesting

@testable import TorsionCore

private class Plain: StreamProtocol {
    func dataReceived(_ bytes: RawSpan, from transport: any StreamTransport) {}
}

private final class Other: Plain {}

private final class Halves: Plain, HalfCloseableProtocol {
    func readConnectionLost(from transport: any StreamTransport) {}

    func writeConnectionLost(from transport: any StreamTransport) {}
}

@Suite struct HalfCloseableProtocolTests {
    // S7
    @Test func `a class that is remembered is mistaken for no other`() {
        let clock = ManualClock()
        let reactor = clock.reactor
        let plain = Plain(), other = Other(), halves = Halves()
        for proto in [plain, other, plain, plain, other, other] {
            #expect(reactor.asHalfCloseable(proto) == nil)
            #expect(reactor.asHalfCloseable(halves) === halves)
        }
    }
}
