// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors
import Torsion
import TorsionHTTP

// Fetches each URL, all at once, and says how long it is: HTTPFetch URL…
Reactor.main { reactor in
    let client = HTTPClient(on: reactor)
    let urls = Array(CommandLine.arguments.dropFirst())
    let answers = urls.map { url in
        client.get(url)
            .addCallback { response in
                // The status is the program's to look at: a 404 is an answer, too.
                let status = response.status
                return response.body.collect(limitBytes: 10 << 20)
                    .addCallback { body in print("\(url): \(status), \(body.count) bytes") }
            }
            .addTimeout(.seconds(60))
            .addErrback { error in print("\(url): \(error)") }
    }
    gatherResults(answers, on: reactor).addBoth { _ in reactor.stop() }
}
