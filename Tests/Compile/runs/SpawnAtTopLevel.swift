// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors
import Torsion

// expect: a task
// expect: a task of a callback
// expect: a task of a function
// expect: stopped

func start(on reactor: Reactor, _ done: @escaping () -> Void) {
    reactor.spawn {
        print("a task of a function")
        done()
    }
}

Reactor.main { reactor in
    reactor.spawn {
        print("a task")
        reactor.callLater(.zero) {
            reactor.spawn {
                print("a task of a callback")
                start(on: reactor) { reactor.stop() }
            }
        }
    }
}
print("stopped")
