// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors
import Torsion

// expect: spawn: the closure belongs to the main actor and would never run

// What is written inside a closure of the main actor belongs to it as well.
try Reactor.run(signals: .ignore) { reactor in
    reactor.callLater(.zero) { reactor.spawn { print("runs") } }
}
