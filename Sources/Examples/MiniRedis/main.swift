// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors
import Torsion

// A small Redis: GET, SET, INCR, EXPIRE, PING, PUBLISH and SUBSCRIBE, for redis-cli and others.
Reactor.main { reactor in
    let store = Store(on: reactor)
    let place = CommandLine.arguments.dropFirst().first ?? "tcp:6379:interface=127.0.0.1"
    let port = try ServerEndpoint(parsing: place)
        .limited(to: ConnectionLimits(total: 10_000))
        .timeouts(Timeouts(request: .seconds(30)))
        .listen(on: reactor) { RedisServer(store) }
    print("listening on \(port.localAddress)")
}
