// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors
import Testing
import Torsion
import TorsionDNS

// snippet: connect
func greetByName(on reactor: Reactor) throws {
    ClientEndpoint.tcp(host: "example.org", port: 80)
        .connect(on: reactor) { Discard() }
        .whenFailed { error in print(error) }
}
// snippet end

// snippet: records
func mail(for domain: String, on reactor: Reactor) -> Deferred<[String]> {
    let dns = reactor.companion(of: DNSResolver.self)
    return dns.mailExchangers(of: domain).addCallback { exchangers in
        exchangers.map { "\($0.preference) \($0.exchange) for \($0.ttlSeconds) s" }
    }
}
// snippet end

// snippet: service
func chat(on reactor: Reactor) throws -> Deferred<Discard> {
    let endpoints = EndpointParser.standard.addingServices()
    return try endpoints.client(parsing: "srv:_xmpp-client._tcp:example.org")
        .connect(on: reactor) { Discard() }
}
// snippet end

// snippet: configuration
func resolver(on reactor: Reactor) -> DNSResolver {
    var configuration = DNSConfiguration(servers: [.ipv4(IPv4Address(192, 0, 2, 53), port: 53)])
    configuration.timeout = .seconds(1)
    configuration.limit = .seconds(4)
    configuration.hosts = HostsFile("192.0.2.80 intranet")
    return DNSResolver(on: reactor, configuration)
}
// snippet end

@Suite struct NamesPageTests {
    @Test func `a host of the configuration is found without a server`() throws {
        try Reactor.run(backend: .epoll, signals: .ignore) { reactor in
            resolver(on: reactor).resolve("intranet", port: 80).addCallback { addresses in
                #expect(addresses == [.ipv4(IPv4Address(192, 0, 2, 80), port: 80)])
                reactor.stop()
            }.whenFailed { Issue.record($0) }
        }
    }
}
