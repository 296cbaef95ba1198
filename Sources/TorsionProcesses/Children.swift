// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

@_spi(Backend) internal import TorsionCore

/// The children of one reactor: asked to end when it stops, and killed before its run is over.
final class Children: ReactorCompanion {
    private unowned let reactor: Reactor
    private var running: [UInt64: ChildProcess] = [:]
    private var nextNumber: UInt64 = 0
    private var drained: Deferred<Void>?
    /// Plays children in place of the kernel: see `Reactor/playChildren(_:)`.
    var play: ((PlayedChild) -> Void)?

    init(on reactor: Reactor) {
        self.reactor = reactor
        // Behind the server's clients, who may need them, and with the connections that the program
        // made. What is left when the grace period is over has a last trigger.
        reactor.addTrigger(.drained, .shutdown) { [unowned self] in requestEnd() }
        reactor.addTrigger(.after, .shutdown) { [unowned self] in endNow() }
    }

    deinit { for child in running.values { child.abandon() } }

    /// Whether there are none.
    var isEmpty: Bool { running.isEmpty }

    func add(_ child: ChildProcess) -> UInt64 {
        nextNumber += 1
        running[nextNumber] = child
        return nextNumber
    }

    func remove(_ number: UInt64) {
        running[number] = nil
        guard running.isEmpty, let drained = drained.take() else { return }
        drained.succeed()
    }

    /// In the order in which they were started.
    private var all: [ChildProcess] { running.sorted { $0.key < $1.key }.map(\.value) }

    private func requestEnd() -> Deferred<Void> {
        guard !running.isEmpty else { return .succeeded((), on: reactor) }
        let done = Deferred<Void>(on: reactor)
        drained = done
        let left = reactor.stopTimeLeft
        for child in all { child.requestShutdown(within: left * 3 / 4) }
        return done
    }

    private func endNow() { for child in all { child.endNow() } }
}
