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
        abstract: "Join whoever comes to the first endpoint with the second.",
        discussion: """
            The first endpoint listens, the second is connected to for each client: relay :8080 \
            unix:/run/app, relay tls:8443:certificate=FILE:key=FILE :8080, relay stdio: \
            example.org:25, relay fd:3 exec:sort. With stdio: or a connected descriptor for the \
            first there is one client, and the command ends with it, with status 1 if it could not \
            be joined, was idle for too long, or a child exits otherwise than with 0; else it runs \
            until SIGINT or SIGTERM, and says where it listens: listening on 127.0.0.1:41234 \
            backend=epoll threads=1. Both sides are streams; datagrams are not relayed.

            With --log each client has a number, and each row of it on standard error begins with that: \
            > is what goes from the first endpoint to the second, < what comes back, both without \
            their TLS. With --idle both connections of a client are closed.
            """)

    @Argument(
        help:
            "Where clients come from, for example :8080, tcp:8080, tls:8443, /run/a, stdio: or fd:3."
    )
    var from: String

    @Argument(
        help:
            "Where each is joined to, for example example.org:80, tls:example.org:443, /run/b or exec:sort:-u."
    )
    var to: String

    @OptionGroup var tls: TLSOptions

    @OptionGroup var joining: JoiningOptions

    @OptionGroup var serving: ServingOptions

    func validate() throws {
        try serving.check()
        try joining.check()
        _ = try readEndpoint(serverText(from), try tls.parser().server(parsing:))
        _ = try readEndpoint(clientText(to), EndpointParser.commandLine().client(parsing:))
    }

    func run() throws {
        let endpoint = joining.traffic.logging(
            try readEndpoint(serverText(from), try tls.parser().server(parsing:)), .ofClient)
        let target = try readEndpoint(
            clientText(to), EndpointParser.commandLine().client(parsing:))
        let threads = serving.threads
        let rules = joining.rules
        let failed = Once()
        try tls.announce()
        try serving.run { reactor, announcement in
            let relays = ProxyFactory(to: target, rules, reactors: threads, on: reactor)
            let port = try endpoint.listen(on: reactor, factory: relays)
            if port.isListening {
                announcement.make(for: port)
            } else {
                // One stream that is open already: standard output is its.
                relays.whenIdle = { [unowned reactor, unowned relays] in
                    if let error = relays.idleError { reactor.printLine("\(error)") }
                    if relays.hasFailed || relays.idleError != nil { failed.begin() }
                    reactor.stop()
                }
            }
        }
        if failed.hasBegun { throw ExitCode.failure }
    }
}
