// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

import TestedBackends
import Testing
import Torsion
import TorsionDNS
import TorsionTesting

/// A name server on one port, by UDP and by TCP, whose answers are a closure's.
final class PlayedServer: DatagramProtocol {
    typealias Answer = (_ query: DNSMessage, _ isOverTCP: Bool) -> DNSMessage?

    private let answer: Answer
    private(set) var questions: [String] = []
    private(set) var address = SocketAddress.ipv4(.loopback, port: 0)

    init(_ answer: @escaping Answer) { self.answer = answer }

    /// Opens both ports.
    func listen(on reactor: Reactor, port: UInt16 = 0) throws -> SocketAddress {
        // The kernel gives a number for TCP that UDP may have given to another test.
        for _ in 0..<20 {
            let stream = try ServerEndpoint.address(.ipv4(.loopback, port: port))
                .listen(on: reactor) { [self] in PlayedStream(self) }
            let bound = SocketAddress.ipv4(.loopback, port: stream.localAddress.port ?? 0)
            do {
                try reactor.listenForDatagrams(on: bound, self)
                address = bound
                return bound
            } catch { stream.stopListening() }
        }
        throw SetupFailure(description: "no port is free by UDP and TCP")
    }

    fileprivate func respond(_ bytes: RawSpan, isOverTCP: Bool) -> Bytes? {
        guard let query = try? DNSMessage(decoding: bytes) else { return nil }
        let question = query.questions.first.map { "\($0.name.lowercase) \($0.type)" }
        questions.append((question ?? "") + (isOverTCP ? " TCP" : ""))
        return answer(query, isOverTCP).flatMap { try? $0.encoded() }
    }

    func datagramReceived(
        _ bytes: RawSpan, from address: SocketAddress, on transport: any DatagramTransport
    ) throws {
        if let answer = respond(bytes, isOverTCP: false) {
            try transport.write(answer, to: address)
        }
    }
}

private final class PlayedStream: StreamProtocol {
    private let server: PlayedServer
    private var received: [UInt8] = []

    init(_ server: PlayedServer) { self.server = server }

    func dataReceived(_ bytes: RawSpan, from transport: any StreamTransport) {
        received += bytes
        guard received.count >= 2, received.count >= 2 + Int(received[0]) << 8 + Int(received[1])
        else { return }
        let query = Bytes(received[2...])
        guard let answer = server.respond(query.span, isOverTCP: true) else {
            return transport.loseConnection()
        }
        // In two pieces, as a long answer comes.
        transport.write { writer in
            writer.writeInteger(UInt16(answer.count))
            writer.write(answer)
        }
    }
}

extension DNSName {
    /// Its text with small letters: a resolver asks in random case.
    var lowercase: String { description.lowercased() }
}

/// Answers from a list: name, type and data; NXDOMAIN for other names, nothing for other types.
struct Zone {
    var records: [DNSRecord] = []
    private let start = DNSRecord(
        name: DNSName("test")!, ttlSeconds: 60,
        data: .soa(
            DNSZoneStart(
                primary: .root, mailbox: .root, serial: 1, refreshSeconds: 1, retrySeconds: 1,
                expireSeconds: 1, minimumSeconds: 60)))

    init(_ records: [(String, DNSRecordValue)]) {
        self.records = records.map { name, data in
            DNSRecord(name: DNSName(name)!, ttlSeconds: 300, data: data)
        }
    }

    func answer(_ query: DNSMessage) -> DNSMessage {
        var response = DNSMessage(answering: query)
        response.flags.insert(.recursionAvailable)
        guard let question = query.questions.first else { return response }
        let named = records.filter { $0.name == question.name }
        response.answers = named.filter { $0.type == question.type }
        if response.answers.isEmpty { response.authorities = [start] }
        if named.isEmpty { response.responseCode = .nameError }
        return response
    }
}

/// What all tests of hosts use.
let hostsZone = Zone([
    ("host.test", .a(IPv4Address(192, 0, 2, 1))),
    ("host.test", .aaaa(IPv6Address("2001:db8::1")!)),
    ("four.test", .a(IPv4Address(192, 0, 2, 4))),
    ("_echo._tcp.test", .srv(priority: 1, weight: 0, port: 7, target: DNSName("four.test")!)),
    ("test", .mx(preference: 20, exchange: DNSName("b.test")!)),
    ("test", .mx(preference: 10, exchange: DNSName("a.test")!)),
    ("test", .txt(["v=spf1 ", "-all"])),
    ("4.2.0.192.in-addr.arpa", .ptr(DNSName("four.test")!)),
    ("none._tcp.test", .srv(priority: 0, weight: 0, port: 0, target: .root)),
])

/// Runs a reactor with `body` until that stops it, at most ten seconds.
func runReactor(_ backend: String, _ body: (Reactor) throws -> Void) throws {
    let choice = try BackendChoice.named(backend, among: BackendChoice.tested)
    let reactor = Reactor(backend: choice)
    reactor.unhandledError = { Issue.record("\($0)") }
    try reactor.run(signals: .ignore) { reactor in
        reactor.callLater(.seconds(10)) { preconditionFailure("the reactor was not stopped") }
        try body(reactor)
    }
}

/// libuv's services with another resolver of names, as a program may have them.
final class OwnNames: ReactorServices {
    private let system: UVServices
    let resolver: any NameResolver
    var signals: any SignalSource { system.signals }

    init(_ dns: DNSResolver, on reactor: Reactor) throws(IOError) {
        system = try UVServices(on: reactor)
        resolver = dns
    }

    func randomBytes(count: Int) throws(IOError) -> [UInt8] {
        try system.randomBytes(count: count)
    }

    func shutDown() { system.shutDown() }
}

/// What a test needs and this machine does not have.
struct SetupFailure: Error, CustomStringConvertible {
    let description: String
}

extension Result {
    /// The error, if it is one.
    var error: Failure? { if case .failure(let error) = self { error } else { nil } }
}

let backends = BackendChoice.tested.map(\.name)
