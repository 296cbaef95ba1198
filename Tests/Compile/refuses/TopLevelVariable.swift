// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors
import Torsion

// A variable of the top level belongs to the main actor; a protocol belongs to its reactor.
var count = 0

final class Counter: StreamProtocol {
    func dataReceived(_ bytes: RawSpan, from transport: any StreamTransport) {
        // expect: main actor-isolated var 'count' can not be
        count += bytes.byteCount
    }
}

Reactor.main { reactor in
    try ServerEndpoint(parsing: "tcp:8007").listen(on: reactor) { Counter() }
}
