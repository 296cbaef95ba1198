// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

internal import ArgumentParser
internal import Glibc
internal import Synchronization
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

    @Option(help: "libuv or epoll; else what TORSION_BACKEND names, else libuv.")
    var backend: String?

    @Option(help: "Threads, each with a reactor and a listening socket of its own.")
    var threads = 1

    @Option(help: "bytes sends back what arrives, lines answers each line by a write of its own.")
    var framing = Framing.bytes

    // For measurements: each face of the engine costs something else.
    @Option(help: .hidden)
    var style = Style.callbacks

    @Option(help: "Seconds that open connections are given at the end.")
    var grace = 0.5

    enum Framing: String, ExpressibleByArgument, CaseIterable, Sendable { case bytes, lines }

    enum Style: String, ExpressibleByArgument, CaseIterable, Sendable {
        case callbacks, async
        case asyncRead = "async-read"
    }

    func validate() throws {
        guard 1...1024 ~= threads else {
            throw ValidationError("'\(threads)' is no number of threads: allowed is 1 to 1024")
        }
        guard 0...86_400 ~= grace else {
            throw ValidationError("'\(grace)' is no grace: allowed is 0 to 86400 seconds")
        }
        guard listen == nil || port == nil else {
            throw ValidationError("--listen and --port name a place twice: give one of them")
        }
        _ = try endpoint
        _ = try BackendChoice.chosen(backend)
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
        let backend = try BackendChoice.chosen(backend)
        let announcement = Announcement("backend=\(backend.name) threads=\(threads)")
        let (framing, style) = (framing, style)
        raiseDescriptorLimit()
        try reportingErrors {
            try ReactorGroup.run(
                count: threads, backend: backend, signals: .stop(within: .seconds(grace))
            ) { reactor in
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

    /// The line that tools wait for, printed by the first thread that listens.
    private final class Announcement: Sendable {
        private let details: String
        private let isMade = Atomic(false)

        init(_ details: String) { self.details = details }

        func make(for port: ListeningPort) {
            guard !isMade.exchange(true, ordering: .relaxed) else { return }
            print("listening on \(port.localAddress) \(details)")
            fflush(nil)
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
