// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors
import Torsion

// expect: spawn: the closure belongs to the main actor and would never run
// expect: start the program by Reactor.main

try Reactor.run(signals: .ignore) { reactor in
    reactor.spawn { print("runs") }
}
