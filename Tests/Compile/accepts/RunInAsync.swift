// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors
import Torsion

// From a `main` that is not async.
func serve() throws {
    try Reactor.run { reactor in reactor.stop() }
}
