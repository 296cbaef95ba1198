// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors
import Torsion

// What connections share is an object that the closure of `main` makes and hands to each.
final class Total { var count = 0 }

final class Counter: StreamProtocol {
    private let total: Total
    init(_ total: Total) { self.total = total }

    func dataReceived(_ bytes: RawSpan, from transport: any StreamTransport) {
        total.count += bytes.byteCount
    }
}

Reactor.main { reactor in
    let total = Total()
    try ServerEndpoint(parsing: "tcp:8007").listen(on: reactor) { Counter(total) }
}
