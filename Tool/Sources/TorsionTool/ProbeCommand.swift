// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

internal import ArgumentParser
internal import Torsion
internal import TorsionDNS

/// `torsion probe`: asks a question, and prints what came and from whom.
struct ProbeCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "probe",
        abstract: "Look a name up, and print what was found and who said so.",
        discussion: """
            dns:NAME asks for the addresses of a host as a connection would: the hosts file, then the \
            name servers of this machine, with its search list, or getaddrinfo(3) if the machine's \
            configuration asks for it. dns:NAME:type=MX asks the name servers for the records of one \
            type; server=ADDRESS asks another server. An IPv6 address is written [::1].
            """)

    @Argument(help: "What to ask for, for example dns:example.org or dns:example.org:type=MX.")
    var probe: String

    @Option(help: "libuv, epoll or io_uring; else what TORSION_BACKEND names, else libuv.")
    var backend: String?

    func validate() throws {
        _ = try NameProbe(parsing: probe)
        _ = try BackendChoice.chosen(backend)
    }

    func run() throws {
        let probe = try NameProbe(parsing: probe)
        let backend = try BackendChoice.chosen(backend)
        var failure: (any Error)?
        try reportingErrors {
            try Reactor.run(backend: backend) { reactor in
                try probe.lines(on: reactor).addBoth { outcome in
                    switch outcome {
                    case .success(let lines): for line in lines { print(line) }
                    case .failure(let error): failure = error
                    }
                    reactor.stop(within: .zero)
                }.whenFailed { _ in }
            }
            if let failure { throw failure }
        }
    }
}

/// What `dns:NAME` asks for: read as an endpoint is, though nothing can be connected to it.
private struct NameProbe: StreamClientEndpoint {
    private let name: String
    private let type: DNSRecordType?
    private let server: SocketAddress?

    /// - Throws: `ValidationError`, which ends the command with status 64.
    init(parsing text: String) throws {
        let parser = EndpointParser.standard.adding(client: "dns", example: "dns:example.org") {
            try NameProbe(&$0)
        }
        guard let probe = try readEndpoint(text, parser.client(parsing:)) as? NameProbe else {
            throw ValidationError("'\(text)' is no probe: allowed is dns:NAME")
        }
        self = probe
    }

    private init(_ arguments: inout EndpointArguments) throws {
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
