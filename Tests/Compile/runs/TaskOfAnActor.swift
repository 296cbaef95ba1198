// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors
import Torsion

// expect: noted on the reactor
// expect: concurrently 3

/// Lives on the reactor, and so may start tasks on it.
actor Ledger {
    nonisolated let executor: ReactorExecutor
    nonisolated var unownedExecutor: UnownedSerialExecutor {
        executor.asUnownedSerialExecutor()
    }
    init(_ executor: ReactorExecutor) { self.executor = executor }

    func start(on reactor: Remote<Reactor>) {
        reactor.callFromThread { reactor in
            reactor.spawn(isolation: self) { await self.note() }
        }
    }

    private(set) var hasNoted = false

    func note() {
        print("noted on the reactor")
        hasNoted = true
    }
}

Reactor.main { reactor in
    let ledger = Ledger(reactor.executor)
    await ledger.start(on: reactor.remote)
    while await !ledger.hasNoted { try await reactor.sleep(for: .zero) }
    let (one, two) = try await reactor.concurrently({ 1 }, { 2 })
    print("concurrently \(one + two)")
}
