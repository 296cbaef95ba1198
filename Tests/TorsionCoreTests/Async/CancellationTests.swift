// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

import Testing

@testable import TorsionCore

/// Which waits end when a task is cancelled: a task that the reactor started has one handler for
/// all of its waits, what else runs there one for each.
@Suite struct CancellationTests {
    let still = StillReactor()
    var reactor: Reactor { still.reactor }

    private func turn(_ count: Int = 3) {
        for _ in 0..<count { reactor.turn(until: reactor.now) }
    }

    private func expectNothingLeft() {
        #expect(reactor.statistics.tasks == 0 && reactor.statistics.suspendedTasks == 0)
        #expect(reactor.statistics.delayedCalls == 0 && still.unhandled.isEmpty)
    }

    @Test(arguments: [0, 1, 5])
    func `the wait that a task is in ends, whichever it is, and those before it are forgotten`(
        ended: Int
    ) {
        let reactor = reactor
        var caught = 0
        let task = reactor.spawn {
            for _ in 0..<ended { try await reactor.sleep(for: .zero) }
            do { try await reactor.sleep(for: .seconds(60)) } catch is CancellationError {
                caught += 1
            }
        }
        turn(ended + 3)
        task.cancel()
        turn()
        #expect(caught == 1)
        expectNothingLeft()
    }

    @Test func `a wait that begins between the cancelling and its turn ends too`() {
        let reactor = reactor
        let gate = Deferred<Void>(on: reactor)
        var caught = 0
        let task = reactor.spawn {
            try await gate.value
            do { try await reactor.sleep(for: .seconds(60)) } catch is CancellationError {
                caught += 1
            }
        }
        turn()
        gate.succeed()
        task.cancel()
        turn()
        #expect(caught == 1)
        expectNothingLeft()
    }

    @Test func `each wait of a cancelled task ends, also while it handles the error`() {
        let reactor = reactor
        var caught = 0
        let task = reactor.spawn {
            for _ in 0..<4 {
                do { try await reactor.sleep(for: .seconds(60)) } catch is CancellationError {
                    caught += 1
                }
            }
        }
        turn()
        task.cancel()
        turn(6)
        #expect(caught == 4)
        expectNothingLeft()
    }

    /// A child runs in its parent's lane, and is not to be taken for it.
    @Test func `a child that is cancelled ends alone, and its parent waits on`() {
        nonisolated(unsafe) let reactor = reactor
        nonisolated(unsafe) var log: [String] = []
        let parent = reactor.spawn {
            await withTaskGroup(of: Void.self) { group in
                group.addTask {
                    do { try await reactor.sleep(for: .seconds(60)) } catch {
                        log.append("child: \(type(of: error))")
                    }
                }
                await reactor.yield()
                group.cancelAll()
                do { try await reactor.sleep(for: .milliseconds(1)) } catch {
                    log.append("parent: \(type(of: error))")
                }
                log.append("parent woke: \(Task.isCancelled)")
            }
        }
        turn()
        #expect(log == ["child: CancellationError"])
        still.advance(by: .milliseconds(1))
        turn()
        #expect(log == ["child: CancellationError", "parent woke: false"])
        #expect(!parent.isPending)
        expectNothingLeft()
    }

    @Test func `a parent that is cancelled ends its children's waits and its own`() {
        nonisolated(unsafe) let reactor = reactor
        nonisolated(unsafe) var caught = 0
        let parent = reactor.spawn {
            await withTaskGroup(of: Void.self) { group in
                for _ in 0..<3 {
                    group.addTask {
                        do { try await reactor.sleep(for: .seconds(60)) } catch { caught += 1 }
                    }
                }
                do { try await reactor.sleep(for: .seconds(60)) } catch { caught += 1 }
            }
        }
        turn()
        #expect(reactor.statistics.suspendedTasks == 4)
        parent.cancel()
        turn()
        #expect(caught == 4)
        expectNothingLeft()
    }

    @Test func `a wait inside an actor of the reactor ends with the task that called it`() {
        nonisolated(unsafe) let reactor = reactor
        let sleeper = Sleeper(on: reactor)
        var caught = 0
        let task = reactor.spawn {
            do { try await sleeper.sleep() } catch is CancellationError { caught += 1 }
        }
        turn()
        #expect(reactor.statistics.suspendedTasks == 1)
        task.cancel()
        turn()
        #expect(caught == 1)
        expectNothingLeft()
    }
}

private actor Sleeper {
    nonisolated let executor: ReactorExecutor
    nonisolated var unownedExecutor: UnownedSerialExecutor { executor.asUnownedSerialExecutor() }
    private nonisolated(unsafe) let reactor: Reactor

    init(on reactor: Reactor) {
        executor = reactor.executor
        self.reactor = reactor
    }

    func sleep() async throws { try await reactor.sleep(for: .seconds(60)) }
}
