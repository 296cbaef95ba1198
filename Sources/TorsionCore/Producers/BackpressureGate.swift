// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

/// Decides when a producer is paused and resumed.
///
/// Pure: no I/O, no clock, no callbacks.
package struct BackpressureGate {
    package enum Action: Equatable { case none, pauseProducer, resumeProducer }

    package var watermarks: Watermarks
    package private(set) var pendingByteCount = 0
    package private(set) var isPaused = false

    package init(watermarks: Watermarks) { self.watermarks = watermarks }

    /// A write that finds this true has a producer that ignores both marks.
    package var isOverLimit: Bool { pendingByteCount > watermarks.limit }

    /// Asserts what must hold at any time.
    package func checkInvariants() {
        require(pendingByteCount >= 0, "BackpressureGate: \(pendingByteCount) bytes are pending")
        require(
            !isPaused || pendingByteCount > 0, "BackpressureGate: paused with nothing to wait for")
    }

    package mutating func didQueue(byteCount: Int) -> Action {
        precondition(byteCount >= 0)
        pendingByteCount += byteCount
        guard !isPaused, pendingByteCount > watermarks.high else { return .none }
        isPaused = true
        return .pauseProducer
    }

    package mutating func didSend(byteCount: Int) -> Action {
        precondition(byteCount >= 0)
        precondition(byteCount <= pendingByteCount, "BackpressureGate: more sent than queued")
        pendingByteCount -= byteCount
        // Two marks, not one: with a single mark a slow peer would flip the producer on and off
        // at every send.
        guard isPaused, pendingByteCount <= watermarks.low else { return .none }
        isPaused = false
        return .resumeProducer
    }
}
