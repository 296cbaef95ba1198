// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

import Glibc
import Torsion

/// What the calls of the flood count, on the reactor's thread only.
private nonisolated(unsafe) var counter = 0

/// Calls from one other thread, as fast as it can; prints the time from the first until the last
/// has run.
///
/// The reactor turns meanwhile, and is woken when it waits.
func flood(_ reactor: Reactor, count: Int) throws {
    let flood = Flood(handle: reactor.remote, count: count)
    var thread = pthread_t()
    let context = Unmanaged.passRetained(flood).toOpaque()
    let code = pthread_create(&thread, nil, runFlood, context)
    precondition(code == 0)
    reactor.addTrigger(.after, .shutdown) { pthread_join(thread, nil) }
}

private final class Flood: Sendable {
    let handle: Remote<Reactor>
    let count: Int

    init(handle: Remote<Reactor>, count: Int) {
        self.handle = handle
        self.count = count
    }

    func run() {
        let start = ContinuousClock.now
        for _ in 0..<count { handle.callFromThread { _ in counter += 1 } }
        let count = count
        handle.callFromThread { reactor in
            precondition(counter == count)
            print(nanoseconds(ContinuousClock.now - start) / Double(count))
            reactor.stop(within: .zero)
        }
    }
}

private func runFlood(_ context: UnsafeMutableRawPointer?) -> UnsafeMutableRawPointer? {
    Unmanaged<Flood>.fromOpaque(context!).takeRetainedValue().run()
    return nil
}
