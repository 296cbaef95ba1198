// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors
import Torsion

// The transport stays, and the answer comes to it through a door.
final class Slow: StreamProtocol {
    private var client: (any StreamTransport)?

    func dataReceived(_ bytes: RawSpan, from transport: any StreamTransport) {
        client = transport
        let door = transport.reactor.remote(to: self)
        Task.detached {
            let answer = "computed elsewhere"
            door.callFromThread { slow in slow.client?.write(answer) }
        }
    }
}
