// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

import TorsionCore
import TorsionTesting

extension Scenario {
    /// Echo clients reach their server through one or two proxies, each of two pipes.
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
                    ProxyEntry(to: upstream, books)
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
            throw Violation(description: "\(books.begun) pipes, \(books.ended) ends")
        }
        try EchoClient.check(clients, servers, in: world)
    }
}

/// How many pipes were laid, and how many told their end.
final class ProxyBooks {
    var begun = 0
    var ended = 0
}

/// Connects a client to the next host by two pipes.
private final class ProxyEntry: StreamProtocol {
    private let upstream: ClientEndpoint
    private let books: ProxyBooks
    private var connecting: Deferred<ProxyExit>?

    init(to upstream: ClientEndpoint, _ books: ProxyBooks) {
        self.upstream = upstream
        self.books = books
    }

    func connectionMade(_ client: any StreamTransport) {
        client.pauseProducing()
        connecting = upstream.connect(on: client.reactor) { ProxyExit() }
        connecting?.addCallback { [self] exit in
            connecting = nil
            guard let server = exit.transport.take() else { return client.abortConnection() }
            carry(from: client, to: server)
            carry(from: server, to: client)
        }.whenFailed { [self] _ in
            connecting = nil
            client.abortConnection()
        }
    }

    func dataReceived(_ bytes: RawSpan, from transport: any StreamTransport) throws {
        throw Violation(description: "a proxy was given data while it was paused")
    }

    func connectionLost(_ why: ConnectionLoss, from transport: any StreamTransport) {
        connecting?.cancel()
    }

    private func carry(
        from source: any StreamTransport, to destination: any StreamTransport
    ) {
        books.begun += 1
        pipe(from: source, to: destination).addBoth { [books] _ in books.ended += 1 }
    }
}

/// Waits for its pipe.
private final class ProxyExit: StreamProtocol {
    var transport: (any StreamTransport)?

    func connectionMade(_ transport: any StreamTransport) {
        transport.pauseProducing()
        self.transport = transport
    }

    func dataReceived(_ bytes: RawSpan, from transport: any StreamTransport) throws {
        throw Violation(description: "a proxy was given data while it was paused")
    }

    func connectionLost(_ why: ConnectionLoss, from transport: any StreamTransport) {
        self.transport = nil
    }
}
