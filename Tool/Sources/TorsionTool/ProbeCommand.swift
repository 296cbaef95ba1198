// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

internal import ArgumentParser
internal import Glibc
internal import Torsion
@_spi(Tool) internal import TorsionCore

/// `torsion probe`: looks whether a service is up, or a name is known, and how long each step takes.
struct ProbeCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "probe",
        abstract: "Connect to a service, or look a name up, and say how long each step took.",
        discussion: """
            For an endpoint it resolves the name, connects, agrees on TLS if the endpoint has it, and \
            with --first-byte waits until the server sends something; each of the four has a time of \
            its own, from the end of the one before. Ends with status 0 if all of \
            that went well, and with 69 if nobody is there. With --until-up it tries again until then, \
            or until --limit has passed, and tells on standard error why not yet: probe --until-up \
            :8080 && run-tests.

            dns:NAME asks for the addresses of a host as a connection would: the hosts file, then the \
            name servers of this machine, with its search list, or getaddrinfo(3) if the machine's \
            configuration asks for it. dns:NAME:type=MX asks the name servers for the records of one \
            type; server=ADDRESS asks another server. An IPv6 address is written [::1].
            """)

    @Argument(
        help:
            "What to ask, for example :8080, tls:example.org:443, /run/app, dns:example.org or dns:example.org:type=MX."
    )
    var probe: String

    @Flag(help: "Try again until it is up.")
    var untilUp = false

    @Option(
        help: ArgumentHelp(
            "Seconds for all of it; else 10, with --until-up 60.",
            valueName: "seconds"))
    var limit: Double?

    @Flag(help: "Wait for the first bytes that the server sends.")
    var firstByte = false

    @Flag(help: "Print an object: up, attempts, seconds, and each step; or error.")
    var json = false

    @Option(
        help: ArgumentHelp(
            "libuv, epoll or io_uring; else what TORSION_BACKEND names, else libuv.",
            valueName: "name"))
    var backend: String?

    private var isOfName: Bool { probe.hasPrefix("dns:") }

    func validate() throws {
        if isOfName {
            _ = try NameProbe(parsing: probe)
            guard !untilUp, !firstByte, limit == nil else {
                throw ValidationError("--until-up, --first-byte and --limit are for services")
            }
        } else {
            _ = try endpoint
        }
        if let limit, !(0.001...86_400 ~= limit) {
            throw ValidationError("'\(limit)' is no limit: allowed is 0.001 to 86400 seconds")
        }
        _ = try BackendChoice.chosen(backend)
    }

    private var endpoint: any StreamClientEndpoint {
        get throws {
            let parser = EndpointParser.commandLine()
                .adding(client: "dns", example: "dns:example.org") { try NameProbe(&$0) }
            return try readEndpoint(clientText(probe), parser.client(parsing:))
        }
    }

    func run() throws {
        let backend = try BackendChoice.chosen(backend)
        if isOfName { return try look(on: backend) }
        let service = ServiceProbe(
            try endpoint, place: probe, host: ServiceProbe.host(of: clientText(probe)),
            limit: .seconds(limit ?? (untilUp ? 60 : 10)), triesAgain: untilUp,
            waitsForByte: firstByte)
        if untilUp, !json { service.whenNotYet = { _ = writeStandardError("not yet: \($0)\n") } }
        try reportingErrors(asJSON: json) {
            try Reactor.run(backend: backend) { reactor in
                try service.start(on: reactor)
            }
            if let failure = service.failure { throw failure }
            guard service.report.up else { throw TransferInterrupted() }
            if json { return try printJSON(service.report) }
            for line in service.report.lines { print(line) }
        }
    }

    private struct Found: Encodable {
        let records: [String]
        let comments: [String]
    }

    private func look(on backend: BackendChoice) throws {
        let probe = try NameProbe(parsing: probe)
        var outcome: Result<[String], any Error>?
        try reportingErrors(asJSON: json) {
            try Reactor.run(backend: backend) { reactor in
                try probe.lines(on: reactor).addBoth { result in
                    outcome = result
                    reactor.stop(within: .zero)
                }.whenFailed { _ in }
            }
            guard let lines = try outcome?.get() else { throw TransferInterrupted() }
            guard json else { return lines.forEach { print($0) } }
            try printJSON(
                Found(
                    records: lines.filter { !$0.hasPrefix("; ") },
                    comments: lines.filter { $0.hasPrefix("; ") }.map { String($0.dropFirst(2)) }))
        }
    }
}
