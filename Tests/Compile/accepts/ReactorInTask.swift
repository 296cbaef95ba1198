// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors
import Torsion

// The reactor's handle is Sendable.
func countDown(on reactor: Reactor) {
    let handle = reactor.remote
    Task.detached {
        handle.callFromThread { reactor in
            reactor.callLater(.seconds(1)) { print("later") }
        }
    }
}
