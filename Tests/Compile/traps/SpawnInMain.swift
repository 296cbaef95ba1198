// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors
import Torsion

// expect: spawn: the closure belongs to the main actor and would never run

@main
struct Program {
    static func main() throws {
        try Reactor.run(signals: .ignore) { reactor in
            reactor.spawn {
                try await ServerEndpoint(parsing: "unix:@torsion-spawn").serve(on: reactor) { _ in }
            }
        }
    }
}
