// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors
import Torsion

// A closure with a capture list, written at the top level, belongs to the main actor; this one is to
// run on another thread.
let endpoint = try ServerEndpoint(parsing: "tcp:8007")
// expect: because crossing of an isolation boundary requires
try await withReactor { [endpoint] reactor in
    try await endpoint.serve(on: reactor) { connection in _ = connection.id }
}
