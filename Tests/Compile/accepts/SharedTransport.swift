// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors
import Torsion

// The transport stays, and the answer comes to it through a handle.
final class Slow: StreamProtocol {
    private var client: (any StreamTransport)?

    func dataReceived(_ bytes: RawSpan, from transport: any StreamTransport) {
        client = transport
        let handle = transport.reactor.remote(to: self)
        Task.detached {
            let answer = "computed elsewhere"
            handle.callFromThread { slow in slow.client?.write(answer) }
        }
    }
}
