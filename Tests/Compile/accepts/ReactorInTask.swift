// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors
import Torsion

// The reactor's door is Sendable.
func countDown(on reactor: Reactor) {
    let door = reactor.remote
    Task.detached {
        door.callFromThread { reactor in
            reactor.callLater(.seconds(1)) { print("later") }
        }
    }
}
