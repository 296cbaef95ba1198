// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

internal import ArgumentParser
internal import Torsion
@_spi(Tool) internal import TorsionCore
internal import TorsionTLS

/// `torsion listen`: joins standard input and output to one client.
struct ListenCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "listen",
        abstract: "Wait for one client, send it standard input, and print what it sends.",
        discussion: """
            Prints one line on standard error when it listens: listening on 127.0.0.1:41234. The \
            port closes with the first client; the command ends with it, as connect does. To serve \
            many, use echo, proxy or serve.
            """)

    @Argument(
        help:
            "Where to listen, for example :8007, tcp:8007:interface=127.0.0.1, tls:8008:certificate=FILE:key=FILE, /run/echo or fd:3."
    )
    var endpoint: String

    @OptionGroup var tls: TLSOptions

    @Flag(
        help: """
            Print objects on standard error: listening, backend, threads; then, last, end, peer, local, received, sent, \
            seconds, exitStatus; error.
            """)
    var json = false

    @OptionGroup var traffic: TrafficOptions

    @Option(
        help: ArgumentHelp(
            "libuv, epoll or io_uring; else what TORSION_BACKEND names, else libuv.",
            valueName: "name"))
    var backend: String?

    func validate() throws {
        try traffic.check()
        _ = try readEndpoint(serverText(endpoint), try tls.parser().server(parsing:))
        _ = try BackendChoice.chosen(backend)
    }

    func run() throws {
        let idle = IdleEnd()
        let meter = ConversationMeter(isOn: json)
        let endpoint = meter.applied(
            to: traffic.applied(
                to: try readEndpoint(serverText(endpoint), try tls.parser().server(parsing:)),
                idle))
        let backend = try BackendChoice.chosen(backend)
        try tls.announce()
        let session = TerminalSession()
        // Of port 0, the one that the kernel gave.
        var address = self.endpoint
        try reportingConversation(asJSON: json, meter, session) {
            try Reactor.run(backend: backend) { reactor in
                try CertificateSources.commandLine.reloadAtHangUp(on: reactor)
                var isTaken = false
                weak var open: ListeningPort?
                let port = try endpoint.listen(on: reactor) { () -> (any StreamProtocol)? in
                    guard !isTaken else { return nil }
                    isTaken = true
                    let side = TerminalSide(session)
                    side.whenMade = { [unowned side] _ in
                        open?.stopListening()
                        do { try session.joinTerminal(to: side, on: reactor) } catch {
                            session.end(with: error, on: reactor)
                        }
                    }
                    return side
                }
                open = port
                address = "\(port.localAddress)"
                let place = Announcement.Object(
                    listening: "\(port.localAddress)", backend: backend.name, threads: 1)
                try reactor.printLine(
                    json ? place.line : "listening on \(port.localAddress)")
            }
            if let error = idle.error { throw PlacedError(address, error) }
            if let failure = session.failure { throw failure }
        }
    }
}
