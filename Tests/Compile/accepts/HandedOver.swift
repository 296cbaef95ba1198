// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors
import Torsion

// A reactor that nobody else refers to may be handed over, whole, before it runs.
func makeAndHandOver() {
    let reactor = Reactor(backend: .epoll)
    Task.detached {
        print(reactor.number)
    }
}
