// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors
import Testing
import Torsion
import TorsionTesting

@Test func `what a callback schedules runs in a later turn`() {
    var order: [String] = []
    let clock = ManualClock()
    let reactor = clock.reactor
    // snippet: order
    reactor.callLater(.zero) {
        order.append("first")
        reactor.callLater(.zero) { order.append("third, in the next turn") }
        order.append("second, still in the same call")
    }
    // snippet end
    clock.turn()
    #expect(order.count == 2)
    clock.turn()
    #expect(order.map { $0.prefix(5) } == ["first", "secon", "third"])
}

// snippet: work
/// Does long work in pieces, so that others are served between them.
func addUp(_ numbers: ArraySlice<Int>, into total: Int = 0, on reactor: Reactor) -> Deferred<Int> {
    let sum = total + numbers.prefix(1_000).reduce(0, +)
    let rest = numbers.dropFirst(1_000)
    guard !rest.isEmpty else { return .succeeded(sum, on: reactor) }
    let next = Deferred<Void>(on: reactor)
    reactor.callLater(.zero) { next.succeed() }
    return next.addCallback { addUp(rest, into: sum, on: reactor) }
}
// snippet end

@Test func `long work in pieces gives the whole sum`() {
    let clock = ManualClock()
    var sum = 0
    addUp(Array(1...5_000)[...], on: clock.reactor).addCallback { sum = $0 }
    clock.turn()
    #expect(sum == 0)
    for _ in 0..<5 { clock.turn() }
    #expect(sum == 12_502_500)
}
