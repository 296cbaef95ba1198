// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors
import Torsion

// expect: Consumer: a producer is registered already for 127.0.0.1:
// expect: unregister it first

final class Twice: StreamProtocol {
    func connectionMade(_ transport: any StreamTransport) {
        transport.registerProducer(transport)
        transport.registerProducer(transport)
    }

    func dataReceived(_ bytes: RawSpan, from transport: any StreamTransport) {}
}

try Reactor.run(signals: .ignore) { reactor in
    let port = try ServerEndpoint.tcp(port: 0, interface: .loopback).listen(on: reactor) { Twice() }
    ClientEndpoint.address(port.localAddress).connect(on: reactor) { Twice() }
        .whenFailed { error in print(error) }
}
