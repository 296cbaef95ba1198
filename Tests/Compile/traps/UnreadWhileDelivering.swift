// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors
import Torsion

// expect: StreamTransport: unread needs a pause or a switch before it

final class Undecided: StreamProtocol {
    func connectionMade(_ transport: any StreamTransport) { transport.write("x") }

    func dataReceived(_ bytes: RawSpan, from transport: any StreamTransport) {
        transport.unread(bytes)
    }
}

try Reactor.run(signals: .ignore) { reactor in
    let port = try ServerEndpoint.tcp(port: 0, interface: .loopback)
        .listen(on: reactor) { Undecided() }
    ClientEndpoint.address(port.localAddress).connect(on: reactor) { Undecided() }
        .whenFailed { error in print(error) }
}
