// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors
import Torsion

// `run` would hold a thread of the pool for as long as the program lives.
func serve() async throws {
    // expect: static method 'run' is unavailable from asynchronous contexts
    try Reactor.run { reactor in reactor.stop() }
}
