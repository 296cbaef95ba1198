// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

internal import ArgumentParser
internal import Torsion
@_spi(Tool) internal import TorsionCore

/// `torsion connect`: joins standard input and output to a server.
struct ConnectCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "connect",
        abstract: "Send standard input to a server, and print what it sends.",
        discussion: """
            The end of standard input is passed on, and the command ends when the server does. If the \
            server ends first, it is still sent the rest of standard input, unless that is a terminal; \
            it is an error if the server does not take it. If the reader of standard output has gone, \
            the command ends by SIGPIPE and in silence, as other tools do.

            tls:HOST:PORT verifies the server's certificate; its options are name, roots, alpn, \
            certificate and key. It is an error if the server ends without TLS's close_notify. \
            exec:PROGRAM:ARGUMENT:ARGUMENT runs a child process as the server; it is an error if that \
            exits with another status than 0.
            """)

    @Argument(
        help:
            "Where to connect to, for example tcp:example.org:80, tls:example.org:443, unix:/run/echo or exec:sort:-u."
    )
    var endpoint: String

    @Flag(help: "Tell on standard error what TLS has agreed on, and the server's certificate.")
    var verbose = false

    @Flag(
        help: """
            Print an object as the last line on standard error: end, peer, local, received, sent, \
            connectMilliseconds, seconds, exitStatus; error.
            """)
    var json = false

    @OptionGroup var traffic: TrafficOptions

    @OptionGroup var header: ProxyHeaderOption

    @Option(
        help: ArgumentHelp(
            "libuv, epoll or io_uring; else what TORSION_BACKEND names, else libuv.",
            valueName: "name"))
    var backend: String?

    func validate() throws {
        try traffic.check()
        _ = try readEndpoint(clientText(endpoint), EndpointParser.commandLine().client(parsing:))
        _ = try BackendChoice.chosen(backend)
    }

    func run() throws {
        let place = try readEndpoint(
            clientText(endpoint), EndpointParser.commandLine().client(parsing:))
        let backend = try BackendChoice.chosen(backend)
        let session = TerminalSession()
        let idle = IdleEnd()
        let meter = ConversationMeter(isOn: json)
        let endpoint = meter.applied(
            to: traffic.applied(
                to: header.proxyHeader ? place.filteredNextToNetwork { OwnProxyHeader() } : place,
                idle))
        try reportingConversation(asJSON: json, meter, session) {
            try Reactor.run(backend: backend) { reactor in
                meter.begin(on: reactor)
                endpoint.connect(on: reactor) { TerminalSide(session, isVerbose: verbose) }
                    .addCallback { remote in try session.joinTerminal(to: remote, on: reactor) }
                    .whenFailed { error in session.end(with: error, on: reactor) }
            }
            if let error = idle.error { throw PlacedError(self.endpoint, error) }
            if let failure = session.failure { throw PlacedError.of(failure, at: self.endpoint) }
        }
    }
}
