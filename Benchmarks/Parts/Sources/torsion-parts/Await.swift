// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

import Torsion

/// Waits for Deferreds that have a value already; prints the time of one.
func awaitReady(on reactor: Reactor, count: Int) {
    measure(count, on: reactor) {
        try await Deferred.succeeded(1, on: reactor).value
    }
}

/// Waits for Deferreds that another task of the reactor fires; prints the time of one.
func awaitReactor(on reactor: Reactor, count: Int) {
    let mailbox = Mailbox()
    reactor.spawn {
        while true {
            mailbox.asked?.succeed(1)
            mailbox.asked = nil
            await reactor.yield()
        }
    }
    measure(count, on: reactor) {
        let answer = Deferred<Int>(on: reactor)
        mailbox.asked = answer
        return try await answer.value
    }
}

/// What one task asks and another answers: both are on one thread.
private final class Mailbox {
    var asked: Deferred<Int>?
}

/// ``time(_:_:)`` for async code, as a task of the reactor, which it stops.
private func measure(
    _ count: Int, on reactor: Reactor, _ body: @escaping () async throws -> Int
) {
    reactor.spawn {
        var sum = 0
        for _ in 0..<count / 10 { sum += try await body() }
        let start = ContinuousClock.now
        for _ in 0..<count { sum += try await body() }
        print(nanoseconds(ContinuousClock.now - start) / Double(count))
        precondition(sum == count + count / 10)
        reactor.stop(within: .zero)
    }
}
