// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors
import Torsion

// expect: which does not run on this reactor

/// Lives on Swift's own threads, and has a reactor of its own.
actor Owner {
    func start() {
        let reactor = Reactor(backend: .epoll)
        reactor.spawn { self.note() }
    }

    func note() {}
}

await Owner().start()
