// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors
import Torsion

// A trigger that is waited for is told by what its closure returns, of however many statements the
// closure is; and one that only throws or ends early is not ambiguous.
struct Refused: Error {}

func addAll(_ reactor: Reactor, _ registry: Deferred<Int>) {
    reactor.addTrigger(.before, .shutdown) {
        let later = Deferred<Void>(on: reactor)
        reactor.callLater(.milliseconds(2)) { later.succeed() }
        return later
    }
    reactor.addTrigger(.before, .shutdown) {
        print("signing off")
        return registry.addCallback { number in print(number) }
    }
    reactor.addTrigger(.before, .shutdown) { registry }
    let trigger = reactor.addTrigger(.after, .startup) {
        print("running")
        reactor.stop()
    }
    reactor.addTrigger(.during, .shutdown) { throw Refused() }
    reactor.addTrigger(.during, .shutdown) {
        guard reactor.removeTrigger(trigger) else { return }
        print("removed")
    }
    reactor.addTrigger(.after, .shutdown) { print("over") }
}
