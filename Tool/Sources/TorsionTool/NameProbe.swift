// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

internal import ArgumentParser
internal import Torsion
internal import TorsionDNS

/// What `dns:NAME` asks for: read as an endpoint is, though nothing can be connected to it.
struct NameProbe: StreamClientEndpoint {
    private let name: String
    private let type: DNSRecordType?
    private let server: SocketAddress?

    /// - Throws: `ValidationError`, which ends the command with status 64.
    init(parsing text: String) throws {
        let parser = EndpointParser.standard.adding(client: "dns", example: "dns:example.org") {
            try NameProbe(&$0)
        }
        guard let probe = try readEndpoint(text, parser.client(parsing:)) as? NameProbe else {
            throw ValidationError("'\(text)' asks for no name: allowed is dns:NAME")
        }
        self = probe
    }

    init(_ arguments: inout EndpointArguments) throws {
        name = try arguments.argument("name")
        type = try arguments.option("type").map { text in
            guard let type = DNSRecordType(text) else {
                throw EndpointError.invalid(
                    "type", value: text, allowed: "a type of records, as in MX or TYPE99")
            }
            return type
        }
        server = try arguments.option("server").map { text in
            let isBracketed = text.hasPrefix("[") && text.hasSuffix("]")
            let bare = isBracketed ? String(text.dropFirst().dropLast()) : text
            guard let address = SocketAddress(host: bare, port: 53) ?? SocketAddress(text) else {
                throw EndpointError.invalid(
                    "server", value: text, allowed: #"an address, or 127.0.0.1\:5353"#)
            }
            return address
        }
    }

    func openStream(on reactor: Reactor) -> Deferred<ByteStream> {
        .failed(
            IOError(.connect, function: "", code: .notSupported, subject: name), on: reactor)
    }

    func lines(on reactor: Reactor) throws -> Deferred<[String]> {
        if type == nil, server == nil { return try hostLines(on: reactor) }
        let dns =
            server.map { DNSResolver(on: reactor, DNSConfiguration(servers: [$0])) }
            ?? reactor.companion(of: DNSResolver.self)
        guard let question = DNSName(name) else {
            throw IOError(.resolve, function: "", code: .invalidArgument, subject: name)
        }
        let answers = (type.map { [$0] } ?? [.aaaa, .a]).map { type in
            // A resolver of its own lives as long as the look-up.
            dns.lookUp(DNSQuestion(name: question, type: type)).addBoth { outcome in
                withExtendedLifetime(dns) { outcome }
            }
        }
        return gatherResults(answers, on: reactor).addCallback { outcomes in
            // Where there is nothing at all, the first says why.
            if !outcomes.contains(where: { (try? $0.get()) != nil }) { _ = try outcomes[0].get() }
            return outcomes.flatMap { outcome in
                switch outcome {
                case .success(let answer): Self.lines(answer)
                case .failure(let error): ["; \(error)"]
                }
            }
        }
    }

    private func hostLines(on reactor: Reactor) throws -> Deferred<[String]> {
        let dns = reactor.companion(of: DNSResolver.self)
        let resolver = try reactor.resolver
        let start = reactor.now
        return resolver.resolve(name, port: 0).addCallback { addresses in
            let time = start.duration(to: reactor.now)
            return addresses.map { $0.host ?? "\($0)" } + ["; \(Self.source(dns, time))"]
        }
    }

    private static func source(_ dns: DNSResolver, _ time: Duration) -> String {
        let milliseconds = time / .milliseconds(1)
        let rounded = (milliseconds * 10).rounded() / 10
        let statistics = dns.statistics
        if statistics.lookups == 0, statistics.systemLookups == 0 {
            return "from this machine, without a query, in \(rounded) ms"
        }
        switch dns.choice {
        case .system(let reason): return "from getaddrinfo (\(reason)), in \(rounded) ms"
        case .own:
            let servers = dns.configuration.servers.map(\.description).joined(separator: ", ")
            return "from \(servers), in \(rounded) ms"
        }
    }

    private static func lines(_ answer: DNSAnswer) -> [String] {
        let way = answer.isOverTCP ? " over TCP" : ""
        let aliases = answer.aliases.map { "; alias \($0)" }
        return aliases + answer.records.map(\.description) + ["; from \(answer.server)\(way)"]
    }
}
