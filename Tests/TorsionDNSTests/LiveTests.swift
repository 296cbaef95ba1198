// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

import TestPrograms
import TestedBackends
import Testing
import Torsion
import TorsionDNS
import TorsionTesting

/// A name server of somebody else's, as a child process on a port of its own.
private final class RealServer {
    let address: SocketAddress
    private let program: TestPrograms.Program

    /// `unbound`, with the records of ``LiveTests``.
    static func unbound() throws -> RealServer {
        try started("unbound", saying: "start of service", startUnbound)
    }

    private static func startUnbound(port: UInt16) throws -> TestPrograms.Program {
        let program = try TestPrograms.Program(
            path: "/usr/sbin/unbound", ["-d", "-d", "-c", "/dev/stdin"])
        program.write(
            """
            server:
              interface: 127.0.0.1@\(port)
              username: ""
              chroot: ""
              pidfile: ""
              directory: ""
              use-syslog: no
              logfile: ""
              verbosity: 1
              do-daemonize: no
              module-config: "iterator"
              num-threads: 1
              local-zone: "test." static
              local-data: "test. 60 IN SOA ns.test. mail.test. 1 2 3 4 60"
              local-data: "host.test. 60 IN A 192.0.2.1"
              local-data: "host.test. 60 IN AAAA 2001:db8::1"
              local-data: "test. 60 IN MX 10 host.test."
              local-data: 'text.test. 60 IN TXT "one" "two"'
              local-data: "_echo._tcp.test. 60 IN SRV 1 2 7 host.test."
              local-data: 'test. 60 IN CAA 0 issue "ca.test"'

            """
                + (0..<120).map { "  local-data: \"many.test. 60 IN A 10.0.0.\($0)\"\n" }.joined())
        program.endInput()
        return program
    }

    /// `dnsmasq`, with the same.
    static func dnsmasq() throws -> RealServer {
        try started("dnsmasq", saying: "started", startDnsmasq)
    }

    private static func startDnsmasq(port: UInt16) throws -> TestPrograms.Program {
        var arguments = [
            "--no-daemon", "--conf-file=/dev/null", "--no-resolv", "--no-hosts", "--port=\(port)",
            "--listen-address=127.0.0.1", "--bind-interfaces", "--user=", "--log-facility=-",
            "--local=/test/", "--local-ttl=60", "--host-record=host.test,192.0.2.1,2001:db8::1",
            "--mx-host=test,host.test,10", "--txt-record=text.test,one,two",
            "--srv-host=_echo._tcp.test,host.test,7,1,2", "--caa-record=test,0,issue,ca.test",
            "--edns-packet-max=1232",
        ]
        arguments += (0..<120).map { "--host-record=many.test,10.0.0.\($0)" }
        return try TestPrograms.Program(path: "/usr/sbin/dnsmasq", arguments)
    }

    /// Starts one, on another port if a test has taken the first by then.
    private static func started(
        _ name: String, saying word: String, _ start: (UInt16) throws -> TestPrograms.Program
    ) throws -> RealServer {
        for _ in 0..<10 {
            let port = try Socket.freePort()
            let program = try start(port)
            while true {
                let line = program.readErrorLine()
                if line.contains(word) { return RealServer(program, port) }
                if line.isEmpty { break }
            }
            _ = program.wait()
        }
        throw SetupFailure(description: "\(name) does not start")
    }

    private init(_ program: TestPrograms.Program, _ port: UInt16) {
        self.program = program
        address = .ipv4(.loopback, port: port)
    }

    func stop() {
        program.signal(15)
        _ = program.wait()
    }
}

/// Against servers that others wrote.
@Suite struct LiveTests {
    private func checkAnswers(_ server: RealServer) throws {
        defer { server.stop() }
        var results: [String] = []
        try runReactor("epoll") { reactor in
            let dns = DNSResolver(on: reactor, DNSConfiguration(servers: [server.address]))
            func note<Value>(_ deferred: Deferred<Value>, _ text: @escaping (Value) -> String) {
                deferred.addBoth { result in
                    switch result {
                    case .success(let value): results.append(text(value))
                    case .failure(let error as DNSLookupError):
                        results.append("\(error.question) \(error.reason)")
                    case .failure(let error): results.append("\(error)")
                    }
                    if results.count == 8 { reactor.stop() }
                }.whenFailed { Issue.record($0) }
            }
            note(dns.resolve("host.test", port: 1)) { "\($0.map(\.description).sorted())" }
            note(dns.mailExchangers(of: "test")) {
                "\($0.map { "\($0.preference) \($0.exchange)" })"
            }
            note(dns.texts(of: "text.test")) { "\($0)" }
            note(dns.services("_echo._tcp", of: "test")) { "\($0[0].target) \($0[0].port)" }
            note(dns.records(.caa, of: "test")) { "\($0[0].data)" }
            let many = DNSQuestion(name: DNSName("many.test")!, type: .a)
            note(dns.lookUp(many)) { "\($0.records.count) \($0.isOverTCP)" }
            note(dns.records(.a, of: "none.test")) { "\($0)" }
            note(dns.records(.srv, of: "host.test")) { "\($0)" }
        }
        #expect(
            Set(results) == [
                #"["192.0.2.1:1", "[2001:db8::1]:1"]"#, #"["10 host.test."]"#, #"["onetwo"]"#,
                "host.test. 7", #"0 issue "ca.test""#, "120 true", "none.test. A noSuchName",
                "host.test. SRV noRecords",
            ])
    }

    @Test(.enabled(if: isInstalled("unbound"), "unbound is not installed"))
    func `N-70: unbound's answers are read, by UDP and by TCP`() throws {
        try checkAnswers(try .unbound())
    }

    @Test(.enabled(if: isInstalled("dnsmasq"), "dnsmasq is not installed"))
    func `N-71: dnsmasq's answers are read, by UDP and by TCP`() throws {
        try checkAnswers(try .dnsmasq())
    }
}
