// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

import Testing

@testable import TorsionCore

@Suite struct BackpressureGateTests {
    private var gate = BackpressureGate(watermarks: Watermarks(low: 2, high: 4, limit: 8))

    @Test mutating func `it pauses once above the high mark and resumes once at the low one`() {
        #expect(gate.didQueue(byteCount: 4) == .none)
        #expect(gate.didQueue(byteCount: 1) == .pauseProducer)
        #expect(gate.didQueue(byteCount: 1) == .none)
        #expect(gate.didSend(byteCount: 3) == .none)
        #expect(gate.didSend(byteCount: 1) == .resumeProducer)
        #expect(gate.didSend(byteCount: 2) == .none)
        #expect(gate.pendingByteCount == 0)
    }

    @Test mutating func `it pauses again after it has resumed`() {
        #expect(gate.didQueue(byteCount: 5) == .pauseProducer)
        #expect(gate.didSend(byteCount: 5) == .resumeProducer)
        #expect(gate.didQueue(byteCount: 5) == .pauseProducer)
    }

    @Test mutating func `the limit is passed by more than it allows`() {
        _ = gate.didQueue(byteCount: 8)
        #expect(!gate.isOverLimit)
        _ = gate.didQueue(byteCount: 1)
        #expect(gate.isOverLimit)
    }

    @Test func `a gate traps when more bytes complete than were queued`() async {
        await #expect(processExitsWith: .failure) {
            var gate = BackpressureGate(watermarks: Watermarks(low: 2, high: 4, limit: 8))
            _ = gate.didSend(byteCount: 1)
        }
    }

    @Test func `watermarks in the wrong order trap`() async {
        await #expect(processExitsWith: .failure) { _ = Watermarks(low: 4, high: 4) }
        await #expect(processExitsWith: .failure) { _ = Watermarks(low: -1, high: 4) }
    }
}
