// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors
import Torsion

// expect: was called from a thread that does not run this reactor
// expect: use reactor.remote.callFromThread

/// Says what the compiler cannot check, and is wrong.
struct Smuggled: @unchecked Sendable { let transport: any StreamTransport }

final class Slow: StreamProtocol {
    func connectionMade(_ transport: any StreamTransport) {
        let smuggled = Smuggled(transport: transport)
        Task.detached { smuggled.transport.write("computed elsewhere") }
    }

    func dataReceived(_ bytes: RawSpan, from transport: any StreamTransport) {}
}

try Reactor.run(signals: .ignore) { reactor in
    let port = try ServerEndpoint.tcp(port: 0, interface: .loopback).listen(on: reactor) { Slow() }
    ClientEndpoint.address(port.localAddress).connect(on: reactor) { Slow() }
        .whenFailed { error in print(error) }
}
