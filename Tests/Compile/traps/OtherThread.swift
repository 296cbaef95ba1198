// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors
import Torsion

// expect: Reactor: now was called from a thread that does not run this reactor
// expect: use reactor.remote.callFromThread

/// Says what the compiler cannot check, and is wrong.
struct Smuggled: @unchecked Sendable { let reactor: Reactor }

try Reactor.run(signals: .ignore) { reactor in
    let smuggled = Smuggled(reactor: reactor)
    Task.detached { print(smuggled.reactor.now) }
}
