// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

import TestPrograms
import TestedBackends
import Testing
import Torsion
import TorsionDNS
import TorsionTesting

@Suite struct ResolverTests {
    /// A server with the zone, and a resolver that asks it.
    private func run(
        _ backend: String,
        _ answer: @escaping PlayedServer.Answer = { query, _ in hostsZone.answer(query) },
        _ change: (inout DNSConfiguration) -> Void = { _ in },
        _ body: (DNSResolver, PlayedServer, Reactor) throws -> Void
    ) throws {
        try runReactor(backend) { reactor in
            let server = PlayedServer(answer)
            var configuration = DNSConfiguration(servers: [try server.listen(on: reactor)])
            change(&configuration)
            try body(DNSResolver(on: reactor, configuration), server, reactor)
        }
    }

    @Test(arguments: backends)
    func `N-50: a host has the addresses of both families, and is asked for once`(
        backend: String
    ) throws {
        try run(backend) { dns, server, reactor in
            var parts: [[SocketAddress]] = []
            dns.resolve("Host.Test", port: 80) { parts.append($0) }.addCallback { addresses in
                #expect(
                    Set(addresses) == [
                        SocketAddress("192.0.2.1:80")!, SocketAddress("[2001:db8::1]:80")!,
                    ])
                #expect(Set(parts.flatMap { $0 }) == Set(addresses))
                #expect(parts.count == 2)
                #expect(server.questions.sorted() == ["host.test. A", "host.test. AAAA"])
                #expect(dns.statistics.datagrams == 2)
                // Known by now: the answer is there before the call returns.
                var again: [SocketAddress] = []
                dns.resolve("host.test.", port: 80).addCallback { again = $0 }
                    .whenFailed { Issue.record($0) }
                #expect(again == addresses)
                #expect(server.questions.count == 2)
                #expect(dns.statistics.cacheHits == 2)
                #expect(dns.statistics.lookupsUnderWay == 0)
                reactor.stop()
            }.whenFailed { Issue.record($0) }
        }
    }

    @Test(arguments: backends)
    func `N-51: 1,000 equal look-ups under way are one query a family`(backend: String) throws {
        try run(backend) { dns, server, reactor in
            var count = 0
            for _ in 0..<1_000 {
                dns.resolve("host.test", port: 1).addCallback { addresses in
                    #expect(addresses.count == 2)
                    count += 1
                    guard count == 1_000 else { return }
                    #expect(server.questions.count == 2)
                    #expect(dns.statistics.datagrams == 2)
                    reactor.stop()
                }.whenFailed { Issue.record($0) }
            }
            #expect(dns.statistics.lookupsUnderWay == 2)
        }
    }

    @Test(arguments: backends)
    func `N-52: an answer that was cut is fetched over TCP`(backend: String) throws {
        let answer: PlayedServer.Answer = { query, isOverTCP in
            var response = hostsZone.answer(query)
            guard !isOverTCP else { return response }
            response.flags.insert(.truncated)
            response.answers = []
            return response
        }
        try run(backend, answer) { dns, server, reactor in
            dns.lookUp(DNSQuestion(name: DNSName("host.test")!, type: .a)).addCallback { answer in
                #expect(answer.isOverTCP)
                #expect(answer.server == server.address)
                #expect(answer.records.map(\.data) == [.a(IPv4Address(192, 0, 2, 1))])
                #expect(server.questions == ["host.test. A", "host.test. A TCP"])
                reactor.stop()
            }.whenFailed { Issue.record($0) }
        }
    }

    @Test(arguments: backends)
    func `N-53: who cancels waits no more, and the last one ends the query`(
        backend: String
    ) throws {
        try run(backend, { _, _ in nil }) { dns, server, reactor in
            var ends = 0
            let lookups = (0..<5).map { _ in dns.resolve("host.test", port: 1) }
            #expect(reactor.statistics.datagramPorts == 3)
            for (index, lookup) in lookups.enumerated() {
                #expect(dns.statistics.lookupsUnderWay == 2, "\(index)")
                lookup.addBoth { result in
                    #expect(result.error is CancellationError)
                    ends += 1
                }.whenFailed { Issue.record($0) }
                lookup.cancel()
            }
            #expect(ends == 5)
            #expect(dns.statistics.lookupsUnderWay == 0)
            // Ports close at the end of a turn, and this is before the first.
            reactor.callLater(.zero) {
                reactor.callLater(.zero) {
                    #expect(reactor.statistics.datagramPorts == 1)
                    reactor.stop()
                }
            }
        }
    }

    @Test(arguments: backends)
    func `N-54: look-ups under way fail when the reactor ends`(backend: String) throws {
        var errors: [any Error] = []
        try run(backend, { _, isOverTCP in nil }) { dns, _, reactor in
            for question in ["host.test", "four.test"] {
                dns.resolve(question, port: 1).addErrback { error -> [SocketAddress] in
                    errors.append(error)
                    return []
                }.whenFailed { Issue.record($0) }
            }
            reactor.callLater(.milliseconds(5)) { reactor.stop(within: .zero) }
        }
        #expect(errors.count == 2)
        // Behind the stop nobody may be left to answer.
        #expect(errors.allSatisfy { $0 is CancellationError || $0 is IOError })
    }

    @Test(arguments: backends)
    func `N-55: where nobody listens the look-up fails at once, with the host's name`(
        backend: String
    ) throws {
        // No test binds to this address.
        let server = SocketAddress.ipv4(IPv4Address(127, 0, 0, 78), port: 9)
        try runReactor(backend) { reactor in
            let dns = DNSResolver(on: reactor, DNSConfiguration(servers: [server]))
            let start = reactor.now
            dns.resolve("host.test", port: 1).addBoth { result in
                let error = try #require(result.error as? IOError)
                #expect(error.code == .resolverUnavailable)
                #expect(error.subject == "host.test")
                #expect(start.duration(to: reactor.now) < .seconds(4))
                reactor.stop()
            }.whenFailed { Issue.record($0) }
        }
    }

    @Test func `N-56: numbers, localhost and names of the hosts file never wait, nor cost a query`()
        throws
    {
        let hosts = HostsFile(
            """
            127.0.0.1 localhost
            192.0.2.9 nine.test Nine # nine.example
            2001:db8::9\tnine.test
            """)
        try run("epoll", { _, _ in nil }, { $0.hosts = hosts }) { dns, server, reactor in
            func known(_ host: String) -> Set<String> {
                var found: [SocketAddress] = []
                dns.resolve(host, port: 9).addCallback { found = $0 }
                    .whenFailed { Issue.record($0) }
                return Set(found.map(\.description))
            }
            #expect(known("192.0.2.1") == ["192.0.2.1:9"])
            #expect(known("::1") == ["[::1]:9"])
            #expect(known("localhost") == ["127.0.0.1:9"])
            #expect(known("LOCALHOST.") == ["127.0.0.1:9"])
            #expect(known("a.localhost") == ["127.0.0.1:9", "[::1]:9"])
            #expect(known("NINE.test") == ["192.0.2.9:9", "[2001:db8::9]:9"])
            #expect(known("nine") == ["192.0.2.9:9"])
            dns.pointers(of: SocketAddress("192.0.2.9:0")!).addCallback { names in
                #expect(names == [DNSName("nine.test")!, DNSName("nine")!])
            }.whenFailed { Issue.record($0) }
            #expect(server.questions.isEmpty)
            #expect(dns.statistics.lookups == 0)
            reactor.stop()
        }
    }

    @Test(arguments: [
        // Dots, search, name, what is asked for.
        (1, ["one.test", "two.test"], "host", ["host.one.test.", "host.two.test.", "host."]),
        (1, ["one.test"], "a.host", ["a.host.", "a.host.one.test."]),
        (2, ["one.test"], "a.host", ["a.host.one.test.", "a.host."]),
        (1, ["one.test"], "host.", ["host."]),
        (0, ["one.test"], "host", ["host.", "host.one.test."]),
        (1, [], "host", ["host."]),
    ])
    func `N-57: names with few dots are searched for, as resolv.conf says`(
        dots: Int, search: [String], name: String, asked: [String]
    ) throws {
        let answer: PlayedServer.Answer = { query, _ in Zone([]).answer(query) }
        try run(
            "epoll", answer,
            {
                $0.dotThreshold = dots
                $0.searchDomains = search.map { DNSName($0)! }
            }
        ) { dns, server, reactor in
            dns.resolve(name, port: 1).addBoth { result in
                #expect((result.error as? IOError)?.code == .hostNotFound)
                var names: [String] = []
                for question in server.questions {
                    let name = String(question.prefix { $0 != " " })
                    if names.last != name { names.append(name) }
                }
                #expect(names == asked)
                reactor.stop()
            }.whenFailed { Issue.record($0) }
        }
    }

    @Test(arguments: backends)
    func `N-58: services, mail, texts and names of addresses`(backend: String) throws {
        try run(backend) { dns, _, reactor in
            var results: [String] = []
            func note<Value>(_ deferred: Deferred<Value>, _ text: @escaping (Value) -> String) {
                deferred.addBoth { result in
                    switch result {
                    case .success(let value): results.append(text(value))
                    case .failure(let error): results.append("\(error)")
                    }
                    if results.count == 6 { reactor.stop() }
                }.whenFailed { Issue.record($0) }
            }
            note(dns.services("_echo._tcp", of: "test")) { "srv \($0[0].target) \($0[0].port)" }
            note(dns.mailExchangers(of: "test")) { "mx \($0.map { "\($0.exchange)" })" }
            note(dns.texts(of: "test")) { "txt \($0)" }
            note(dns.pointers(of: SocketAddress("192.0.2.4:9")!)) { "ptr \($0)" }
            note(dns.records(.caa, of: "test")) { "caa \($0)" }
            note(dns.services("none._tcp", of: "test")) { "srv \($0)" }
            reactor.addTrigger(.before, .shutdown) {
                #expect(
                    Set(results) == [
                        "srv four.test. 7", #"mx ["a.test.", "b.test."]"#, #"txt ["v=spf1 -all"]"#,
                        "ptr [four.test.]",
                        "test. CAA: no records of this type, says \(dns.configuration.servers[0])",
                        "cannot resolve none._tcp.test: no address associated with hostname"
                            + " (EAI_NODATA)",
                    ])
            }
        }
    }

    @Test func `N-59: services are ordered by priority, and drawn by weight`() throws {
        var heavyFirst = 0
        let answer: PlayedServer.Answer = { query, _ in
            var response = DNSMessage(answering: query)
            let name = query.questions[0].name
            func service(_ priority: UInt16, _ weight: UInt16, _ target: String) -> DNSRecord {
                DNSRecord(
                    name: name, ttlSeconds: 60,
                    data: .srv(
                        priority: priority, weight: weight, port: 1, target: DNSName(target)!))
            }
            response.answers = [
                service(2, 0, "last.test"), service(1, 10, "light.test"),
                service(1, 90, "heavy.test"),
            ]
            return response
        }
        try run("epoll", answer) { dns, _, reactor in
            func draw(_ rest: Int) {
                guard rest > 0 else {
                    reactor.stop()
                    return
                }
                dns.services("_s._tcp", of: "test").addCallback { services in
                    #expect(services.map(\.priority) == [1, 1, 2])
                    if services[0].weight == 90 { heavyFirst += 1 }
                    reactor.callLater(.zero) { draw(rest - 1) }
                }.whenFailed { Issue.record($0) }
            }
            draw(300)
        }
        // 270 are expected, and a draw of this kind is more than 35 away once in many years.
        #expect((235...299).contains(heavyFirst), "\(heavyFirst)")
    }

    @Test(arguments: backends)
    func `N-60: a cached name costs no call, one that is not two sends and two receives`(
        backend: String
    ) throws {
        let choice = try BackendChoice.named(backend, among: BackendChoice.tested)
        // The server is a thread's and a reactor's of its own, so that its calls are not counted.
        let plan = FaultPlan.counting
        let reactor = Reactor(backend: .faulty(choice, plan))
        reactor.unhandledError = { Issue.record("\($0)") }
        try reactor.run(signals: .ignore) { reactor in
            reactor.callLater(.seconds(10)) { preconditionFailure("the reactor was not stopped") }
            let server = PlayedServer { query, _ in hostsZone.answer(query) }
            let dns = DNSResolver(
                on: reactor, DNSConfiguration(servers: [try server.listen(on: reactor)]))
            dns.resolve("host.test", port: 1).addCallback { first in
                let calls = plan.calls
                // Both sides are here: each query is sent and received once, and each answer.
                #expect(calls.count { $0 == .send } <= 4)
                #expect(calls.count { $0 == .receive } <= 4)
                let before = plan.calls.count
                for _ in 0..<100 {
                    var again: [SocketAddress] = []
                    dns.resolve("host.test", port: 1).addCallback { again = $0 }
                        .whenFailed { Issue.record($0) }
                    #expect(again == first)
                }
                #expect(plan.calls.count == before)
                reactor.stop()
            }.whenFailed { Issue.record($0) }
        }
    }

    @Test(arguments: backends)
    func `N-61: a srv endpoint connects to the first place that answers`(backend: String) throws {
        var places: [DNSRecord] = []
        let answer: PlayedServer.Answer = { query, _ in
            var response = DNSMessage(answering: query)
            response.answers = query.questions[0].type == .srv ? places : []
            return response
        }
        try run(backend, answer) { dns, _, reactor in
            final class Hello: StreamProtocol {
                func connectionMade(_ transport: any StreamTransport) { transport.write("hello") }
                func dataReceived(_ bytes: RawSpan, from transport: any StreamTransport) {}
            }
            let open = try ServerEndpoint.address(.ipv4(.loopback, port: 0))
                .listen(on: reactor) { Hello() }
            let closed = try Socket.bound()
            for (priority, port) in [(1, closed.port), (2, open.localAddress.port ?? 0)] {
                places.append(
                    DNSRecord(
                        name: DNSName("_hello._tcp.test")!, ttlSeconds: 1,
                        data: .srv(
                            priority: UInt16(priority), weight: 0, port: port,
                            target: DNSName("localhost")!)))
            }
            // Used on this thread only.
            nonisolated(unsafe) let dns = dns
            let endpoint = try EndpointParser.standard.addingServices(by: { _ in dns })
                .client(parsing: "srv:_hello._tcp:test:timeout=5")
            final class Reading: StreamProtocol {
                let done: () -> Void
                init(_ done: @escaping () -> Void) { self.done = done }
                func dataReceived(_ bytes: RawSpan, from transport: any StreamTransport) {
                    #expect(String(decoding: bytes) == "hello")
                    done()
                }
            }
            endpoint.connect(on: reactor) {
                Reading {
                    closed.close()
                    reactor.stop(within: .zero)
                }
            }.whenFailed { Issue.record($0) }
        }
    }

    @Test(arguments: [
        "srv:example.org", "srv:_a._tcp", "srv:xmpp._tcp:example.org", "srv:_a._tcp:a..b",
        "srv:_a._tcp:example.org:timeout=0",
    ])
    func `N-62: a text that names no service is refused`(text: String) {
        #expect(throws: EndpointError.self) {
            try EndpointParser.standard.addingServices().client(parsing: text)
        }
    }

    @Test(arguments: backends)
    func `N-64: a connect begins with the addresses that are there, however late the others are`(
        backend: String
    ) throws {
        final class Quiet: StreamProtocol {
            func dataReceived(_ bytes: RawSpan, from transport: any StreamTransport) {}
        }
        let choice = try BackendChoice.named(backend, among: BackendChoice.tested)
        nonisolated(unsafe) var servers: [SocketAddress] = []
        let reactor = Reactor(backend: choice) { reactor throws(IOError) in
            try OwnNames(DNSResolver(on: reactor, DNSConfiguration(servers: servers)), on: reactor)
        }
        reactor.unhandledError = { Issue.record("\($0)") }
        let local = Zone([("host.test", .a(.loopback))])
        try reactor.run(signals: .ignore) { reactor in
            reactor.callLater(.seconds(10)) { preconditionFailure("the reactor was not stopped") }
            // Questions for IPv6 addresses have no answer.
            let server = PlayedServer { query, _ in
                query.questions.first?.type == .a ? local.answer(query) : nil
            }
            servers = [try server.listen(on: reactor)]
            let port = try ServerEndpoint.address(.ipv4(.loopback, port: 0))
                .listen(on: reactor) { Quiet() }
            let start = reactor.now
            ClientEndpoint.tcp(host: "host.test", port: port.localAddress.port ?? 0)
                .connect(on: reactor) { Quiet() }
                .addCallback { _ in
                    let time = start.duration(to: reactor.now)
                    #expect(time >= .milliseconds(50) && time < .seconds(4), "\(time)")
                    reactor.stop(within: .zero)
                }.whenFailed { Issue.record($0) }
        }
        // The connect has given up the look-up that goes on.
        #expect(reactor.statistics.openHandles == 0)
    }

    @Test func `N-63: no thread is started`() async {
        await #expect(processExitsWith: .success) { try lookUpWithoutThread() }
    }
}

/// Traps if there is one thread more, and if the machine's names are not looked up by the same.
private func lookUpWithoutThread() throws {
    try Reactor(backend: .epoll).run(signals: .ignore) { reactor in
        func threadCount() throws -> String? {
            let status = try reactor.files.open("/proc/self/status", for: .reading)
            let text = String(decoding: try status.read(at: 0, limit: 8_192))
            return text.split(separator: "\n").first { $0.hasPrefix("Threads:") }.map(String.init)
        }
        let server = PlayedServer { query, _ in hostsZone.answer(query) }
        let dns = DNSResolver(
            on: reactor, DNSConfiguration(servers: [try server.listen(on: reactor)]))
        let before = try threadCount()
        dns.resolve("host.test", port: 1).addCallback { addresses in
            precondition(addresses.count == 2 && before != nil)
            let after = try threadCount()
            precondition(after == before)
            let standard = try reactor.resolver
            precondition(standard is DNSResolver)
            reactor.stop()
        }.whenFailed { preconditionFailure("\($0)") }
    }
}
