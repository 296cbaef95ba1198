// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

internal import ArgumentParser
internal import Torsion

/// `torsion echo`: sends back what it receives.
struct EchoCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "echo",
        abstract: "Run an echo server until SIGINT or SIGTERM.",
        discussion: """
            Prints one line when it listens: \
            listening on 127.0.0.1:41234 backend=epoll threads=1
            """)

    @Option(help: "Where to listen, for example tcp:8007:interface=127.0.0.1 or unix:/run/echo.")
    var listen: String?

    @Option(help: "A TCP port on 127.0.0.1 instead; 0 picks one.")
    var port: UInt16?

    @OptionGroup var serving: ServingOptions

    @Option(help: "bytes sends back what arrives, lines answers each line by a write of its own.")
    var framing = Framing.bytes

    // For measurements: each face of the engine costs something else.
    @Option(help: .hidden)
    var style = Style.callbacks

    enum Framing: String, ExpressibleByArgument, CaseIterable, Sendable { case bytes, lines }

    enum Style: String, ExpressibleByArgument, CaseIterable, Sendable {
        case callbacks, async
        case asyncRead = "async-read"
    }

    func validate() throws {
        try serving.check()
        guard listen == nil || port == nil else {
            throw ValidationError("--listen and --port name a place twice: give one of them")
        }
        _ = try endpoint
    }

    private var endpoint: ServerEndpoint {
        get throws {
            guard let listen else {
                return .tcp(port: port ?? 8007, interface: .loopback)
            }
            return try readEndpoint(listen, ServerEndpoint.init(parsing:))
        }
    }

    func run() throws {
        let endpoint = try endpoint
        let (framing, style) = (framing, style)
        try serving.run { reactor, announcement in
            guard style == .callbacks else {
                try serve(endpoint, on: reactor, style, announcement)
                return
            }
            let port = try endpoint.listen(on: reactor) {
                switch framing {
                case .bytes: Echo()
                case .lines: LineEcho()
                }
            }
            announcement.make(for: port)
        }
    }

    /// Serves by tasks; `async` copies each read into bytes of its own, `async-read` does not.
    private func serve(
        _ endpoint: ServerEndpoint, on reactor: Reactor, _ style: Style,
        _ announcement: Announcement
    ) throws {
        reactor.spawn {
            try await endpoint.serve(on: reactor, whenListening: announcement.make) { connection in
                if style == .asyncRead {
                    let transport = connection.transport
                    while try await connection.read({ transport.write($0) }) != nil {}
                } else {
                    for try await bytes in connection.inbound { try await connection.write(bytes) }
                }
            }
        }.whenFailed { error in
            fail(with: error)
            reactor.stop(within: .zero)
        }
    }
}

/// Sends every byte back.
private final class Echo: StreamProtocol {
    func dataReceived(_ bytes: RawSpan, from transport: any StreamTransport) {
        transport.write(bytes)
    }
}

/// Sends every line back, by a write of its own.
private final class LineEcho: LineProtocol {
    let lines = LineDecoder()

    func lineReceived(_ line: RawSpan, from transport: any StreamTransport) {
        transport.write(line)
        transport.write("\r\n")
    }
}
