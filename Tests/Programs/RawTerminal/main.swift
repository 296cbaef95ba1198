// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

import Glibc
import Torsion
import TorsionProcesses

// Puts its terminal in raw mode, and ends in the way that its argument names.
Reactor.main { reactor in
    let terminal = try Terminal(on: reactor)
    try terminal.makeRaw()
    print("raw")
    switch CommandLine.arguments[1] {
    case "stop": reactor.stop()
    case "exit": exit(3)
    case "trap": fatalError("wanted")
    case "release": withExtendedLifetime(terminal) { terminal.restore() }; reactor.stop()
    case "again":
        // The first asks for a stop, which waits for the trigger, and the second ends the process.
        reactor.addTrigger(.before, .shutdown) {
            withExtendedLifetime(terminal) { _ = kill(getpid(), SIGTERM) }
            return Deferred<Void>(on: reactor)
        }
        kill(getpid(), SIGTERM)
    case "suspend":
        kill(getpid(), SIGTSTP)
        print("again")
        reactor.callLater(.zero) { withExtendedLifetime(terminal) { _ = reactor.stop() } }
    default: kill(getpid(), Int32(CommandLine.arguments[1])!)
    }
}
