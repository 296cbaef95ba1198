// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors
import Torsion

// A `let` that is `Sendable` can be used without a list, and what is made inside needs none.
let place = "tcp:8007"
try await withReactor { reactor in
    let endpoint = try ServerEndpoint(parsing: place)
    try await endpoint.serve(on: reactor) { connection in _ = connection.id }
}
