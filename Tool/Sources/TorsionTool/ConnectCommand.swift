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
            The end of standard input is passed on; the command ends with the server. A server that \
            ends first is still sent what is left of standard input, unless that is a terminal, and \
            it is an error if nobody takes it. If whoever reads standard output has gone, the command \
            ends as other tools do: by SIGPIPE, without a word. Over \
            TLS the server's certificate is verified, and a server that ends without TLS's farewell \
            is an error: tls:HOST:PORT, with the options name, roots, alpn, certificate and key. A \
            child process may be the server, exec:PROGRAM:ARGUMENT:ARGUMENT; if it exits otherwise \
            than with 0, that is an error.
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

    @Option(help: "libuv, epoll or io_uring; else what TORSION_BACKEND names, else libuv.")
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
