// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

import Torsion

/// Delayed calls that are scheduled and cancelled while others are pending.
///
/// All are due in one to sixty seconds, in whole milliseconds, from the generator that
/// `Twins/parts.c` has, so that both sides put the same deadlines into their structures.
struct Timers {
    private var state: UInt64 = 1

    init(pending count: Int, on reactor: Reactor) {
        for _ in 0..<count { reactor.callLater(nextDelay()) {} }
    }

    mutating func scheduleAndCancel(on reactor: Reactor) {
        reactor.callLater(nextDelay()) {}.cancel()
    }

    private mutating func nextDelay() -> Duration {
        state = state &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
        return .milliseconds(1_000 + Int((state >> 33) % 59_000))
    }
}
