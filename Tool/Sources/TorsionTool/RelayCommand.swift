// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

internal import ArgumentParser
internal import Torsion
@_spi(Tool) internal import TorsionCore
internal import TorsionTLS

/// `torsion relay`: joins two endpoints.
struct RelayCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "relay",
        abstract: "Join each client of the first endpoint to the second.",
        discussion: """
            The first endpoint listens, the second is connected to for each client: relay :8080 \
            unix:/run/app, relay tls:8443:certificate=FILE:key=FILE :8080, relay stdio: \
            example.org:25, relay fd:3 exec:sort. With stdio: or a connected descriptor for the \
            first there is one client, and the command ends with it, with status 1 if it could not \
            be joined, broke off or was idle for too long, or a child exits with another status than \
            0; else it runs until SIGINT or SIGTERM, and says where it listens: listening on 127.0.0.1:41234 \
            backend=epoll threads=1.

            relay udp:53 udp:192.0.2.1:53 relays datagrams: each address that sends some is a client \
            with a port of its own towards the second endpoint, to which answers return, until \
            nothing has passed for --idle seconds, else 60. There are at most --limit clients, else \
            1024; datagrams of others are dropped. A stream does not keep where a datagram ends, so \
            both endpoints have to be udp, or neither.

            With --log each client has a number, and each row of it on standard error begins with that: \
            > is what goes from the first endpoint to the second, < what comes back, both without \
            their TLS. With --idle both connections of a client are closed.
            """)

    @Argument(
        help:
            "Where clients come from, for example :8080, tcp:8080, tls:8443, /run/a, stdio:, fd:3 or udp:53."
    )
    var from: String

    @Argument(
        help:
            "Where each is joined to, for example example.org:80, tls:example.org:443, /run/b, exec:sort:-u or udp:example.org:53."
    )
    var to: String

    @OptionGroup var tls: TLSOptions

    @OptionGroup var joining: JoiningOptions

    @OptionGroup var serving: ServingOptions

    func validate() throws {
        try serving.check()
        try joining.check()
        _ = try route
    }

    private enum Route {
        case streams(any StreamServerEndpoint, any StreamClientEndpoint)
        case datagrams(DatagramEndpoint, DatagramTarget)
    }

    private var route: Route {
        get throws {
            let parser = try tls.parser()
            let place = try readEndpoint(serverText(from)) { text throws(EndpointError) in
                try Place(parsing: text, by: parser)
            }
            let clients = EndpointParser.commandLine()
                .adding(client: "udp", example: "udp:example.org:53") { try DatagramTarget(&$0) }
            let target = try readEndpoint(clientText(to), clients.client(parsing:))
            switch (place, target as? DatagramTarget) {
            case (.streams(let endpoint), nil): return .streams(endpoint, target)
            case (.datagrams(let endpoint), let target?):
                if case .unix? = endpoint.address {
                    throw ValidationError("'\(from)': datagrams are relayed over UDP alone")
                }
                guard !joining.header.proxyHeader else {
                    throw ValidationError("--proxy-header is for streams, not for datagrams")
                }
                return .datagrams(endpoint, target)
            case (.streams, _?): throw Self.mixture(to, from)
            case (.datagrams, nil): throw Self.mixture(from, to)
            }
        }
    }

    private static func mixture(_ datagrams: String, _ stream: String) -> ValidationError {
        ValidationError(
            "'\(datagrams)' is for datagrams and '\(stream)' for a stream, which does not keep where"
                + " a datagram ends: both have to be udp, or neither")
    }

    func run() throws {
        switch try route {
        case .streams(let endpoint, let target):
            try relay(joining.traffic.logging(endpoint, .ofClient), target)
        case .datagrams(let endpoint, let target): try relay(endpoint, target)
        }
    }

    private func relay(_ endpoint: DatagramEndpoint, _ target: DatagramTarget) throws {
        let (threads, form) = (serving.threads, joining.traffic.log)
        var rules = joining.rules
        if joining.limit == nil { rules.clients = ClientCount(limit: DatagramRelay.defaultLimit) }
        let shared = rules
        try serving.run { reactor, announcement in
            let port = try endpoint.listen(on: reactor) {
                DatagramRelay(to: target, shared, form, reactors: threads, on: reactor)
            }
            announcement.make(at: port.localAddress)
        }
    }

    private func relay(
        _ endpoint: any StreamServerEndpoint, _ target: any StreamClientEndpoint
    ) throws {
        let threads = serving.threads
        let rules = joining.rules
        let (failed, broken) = (Once(), Once())
        let (dies, isOfTerminal) = (BrokenPipeSignal.isDefault, from.hasPrefix("stdio:"))
        try tls.announce()
        try serving.run { reactor, announcement in
            let relays = ProxyFactory(to: target, rules, reactors: threads, on: reactor)
            let port = try endpoint.listen(on: reactor, factory: relays)
            if port.isListening {
                announcement.make(for: port)
            } else {
                // One stream that is open already: standard output is its.
                relays.isOfOne = true
                relays.endsByBrokenPipe = dies && isOfTerminal
                relays.whenIdle = { [unowned reactor, unowned relays] in
                    if let error = relays.idleError { reactor.printLine("\(error)") }
                    if relays.isOutputBroken { broken.begin() }
                    if relays.hasFailed || relays.idleError != nil { failed.begin() }
                    reactor.stop()
                }
            }
        }
        if broken.hasBegun { BrokenPipeSignal.raise() }
        if failed.hasBegun { throw ExitCode.failure }
    }
}
