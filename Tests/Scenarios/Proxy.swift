// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

import TorsionCore
import TorsionTesting

extension Scenario {
    /// Echo clients reach their server through one or two proxies.
    static let proxy = Scenario("proxy") { world in
        let ledger = Ledger(world)
        world.vary()
        var servers: [Audited] = []
        try world.host("server").run { reactor in
            try ServerEndpoint.address(.ipv4(.any, port: 7)).listen(on: reactor) {
                servers.append(EchoServer("server", ledger))
                return servers.last
            }
        }
        let books = ProxyBooks()
        let names = world.dice.percent(40) ? ["proxy2", "proxy1"] : ["proxy1"]
        var next = "server"
        for name in names {
            let upstream = ClientEndpoint.tcp(host: next, port: 7)
            try world.host(name).run { reactor in
                try ServerEndpoint.address(.ipv4(.any, port: 7)).listen(on: reactor) {
                    books.begun += 1
                    return StreamProxy(to: upstream) { _ in books.ended += 1 }
                }
            }
            next = name
        }
        let clients = try EchoClient.start(
            count: 1 + world.dice.below(2), in: world, to: "proxy1", ledger)
        try world.run {
            clients.allSatisfy(\.isOver) && ledger.isQuiet
                && names.allSatisfy { world.host($0).reactor.statistics.openConnections == 0 }
        }
        guard books.begun == books.ended else {
            throw Violation(description: "\(books.begun) relayed clients, \(books.ended) ends")
        }
        try EchoClient.check(clients, servers, in: world)
    }
}

/// How many clients were taken, and how many told their end.
final class ProxyBooks {
    var begun = 0
    var ended = 0
}
