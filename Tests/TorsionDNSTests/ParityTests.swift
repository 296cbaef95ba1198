// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

import TestedBackends
import Testing
import Torsion
import TorsionDNS
import TorsionServices
import TorsionTesting

/// What `getaddrinfo(3)` and the C library's files come to, and `DNSResolver` as well: the table of the
/// guide *Names*.
///
/// What needs a name server is not in it: the machine that runs the tests may have none.
@Suite struct ParityTests {
    @Test(arguments: [
        "127.0.0.1", "::1", "fe80::1%1", "localhost", "LocalHost", "", ".", "127.1",
        "0x7f000001", "017700000001", "2130706433", "127.0.0.1.", "a b", "evil\0.example",
        String(repeating: "a.", count: 128),
    ])
    func `N-80: a text comes to the same by both resolvers`(text: String) throws {
        var outcomes: [String] = []
        for choice in ["own", "system"] {
            let reactor = Reactor(
                backend: .epoll,
                services: { reactor throws(IOError) in try UVServices(on: reactor) })
            reactor.unhandledError = { Issue.record("\($0)") }
            try reactor.run(signals: .ignore) { reactor in
                let own = DNSResolver(on: reactor)
                let resolver: any NameResolver = choice == "own" ? own : try reactor.resolver
                resolver.resolve(text, port: 80).addBoth { result in
                    switch result {
                    case .success(let addresses): outcomes.append("\(addresses)")
                    case .failure(let error as IOError): outcomes.append("\(error.code)")
                    case .failure(let error): outcomes.append("\(error)")
                    }
                    reactor.stop()
                }.whenFailed { Issue.record($0) }
            }
        }
        #expect(outcomes.count == 2)
        #expect(outcomes[0] == outcomes[1])
    }

    @Test func `N-81: resolv.conf is read as the C library does`() {
        let text = """
            # comment
            ; comment
            nameserver 192.0.2.1
            nameserver  2001:db8::53\t
            nameserver fe80::1%2
            nameserver 192.0.2.4
            domain first.test
            search one.test two.test.
            options ndots:3 timeout:2 attempts:9 rotate edns0 trust-ad
            options single-request use-vc
            """
        let configuration = DNSConfiguration(resolvConf: text, hostName: "a.b.test")
        #expect(
            configuration.servers == [
                SocketAddress("192.0.2.1:53")!, SocketAddress("[2001:db8::53]:53")!,
                SocketAddress("[fe80::1%2]:53")!,
            ])
        #expect(configuration.searchDomains == [DNSName("one.test")!, DNSName("two.test")!])
        #expect(configuration.dotThreshold == 3)
        #expect(configuration.timeout == .seconds(2))
        #expect(configuration.attempts == 5)
        #expect(configuration.rotatesServers && configuration.usesTCPOnly)
        #expect(configuration.unknownOptions.isEmpty)
        let empty = DNSConfiguration(resolvConf: "", hostName: "a.b.test")
        #expect(empty.servers == [SocketAddress("127.0.0.1:53")!])
        #expect(empty.searchDomains == [DNSName("b.test")!])
        #expect(empty.dotThreshold == 1 && empty.attempts == 2 && empty.timeout == .seconds(5))
    }

    @Test(arguments: [
        ("", "", true), ("hosts: files dns", "", true), ("hosts: files myhostname dns", "", true),
        ("passwd: x\nhosts:\tfiles dns # why", "options ndots:2", true),
        ("hosts: files mdns4_minimal [NOTFOUND=return] dns", "", false),
        ("hosts: dns files", "", false), ("hosts: files", "", false),
        ("hosts: files resolve [!UNAVAIL=return] dns", "", false),
        ("hosts: files dns", "options inet6", false),
        ("hosts: files dns", "sortlist 1.2.3.4", false),
        ("hosts: files dns", "nameserver fe80::1%eth0", false),
    ])
    func `N-82: what is not known here is left to the system`(
        nsswitch: String, resolvConf: String, isOwn: Bool
    ) {
        let configuration = DNSConfiguration(resolvConf: resolvConf)
        #expect((ResolverChoice(nsswitch: nsswitch, configuration) == .own) == isOwn)
        #expect(ResolverChoice(nsswitch: nsswitch, configuration, override: "own") == .own)
        #expect(ResolverChoice(nsswitch: nsswitch, configuration, override: "system") != .own)
    }

    @Test func `N-83: any text is read as a file, without a trap`() {
        var dice = SeededDice(seed: 1)
        let words = [
            "nameserver", "options", "search", "ndots:", "timeout:", ":", "-1",
            "99999999999999999999",
            "\0", "\t", "\n", " ", "::1", "1.2.3.4", "é", "#", "hosts:", "[", ".",
        ]
        for _ in 0..<500 {
            let text = (0..<dice.below(40)).map { _ in words[dice.below(words.count)] }.joined()
            let configuration = DNSConfiguration(
                resolvConf: text, hostName: text, hosts: HostsFile(text))
            #expect((1...3).contains(configuration.servers.count))
            #expect((0...15).contains(configuration.dotThreshold))
            #expect((1...5).contains(configuration.attempts))
            _ = ResolverChoice(nsswitch: text, configuration)
        }
    }
}
