// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

internal import ArgumentParser
internal import Torsion
@_spi(Tool) internal import TorsionCore
internal import TorsionHTTP
internal import TorsionProcesses
internal import TorsionWebSocket

/// `torsion echo`: sends back what it receives.
struct EchoCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "echo",
        abstract: "Run an echo server until SIGINT or SIGTERM.",
        discussion: """
            Prints one line when it listens: \
            listening on 127.0.0.1:41234 backend=epoll threads=1. \
            Datagrams go back whole, each to where it came from. tls endpoints also have \
            clientca=FILE and alpn=h2,http/1.1. \
            With --exec each client talks to a child process of its own, as inetd has it.
            """)

    @Option(
        help:
            "Where to listen, for example tcp:8007:interface=127.0.0.1, tls:8008:certificate=FILE:key=FILE or udp:8007; else at --port."
    )
    var listen: String?

    @Option(help: "A TCP port on 127.0.0.1 instead; 0 picks one.")
    var port: UInt16?

    @OptionGroup var tls: TLSOptions

    @OptionGroup var serving: ServingOptions

    @Option(
        help: """
            bytes sends back what arrives, lines answers each line by a write of its own, http answers \
            each request with its method, its target and its body, and echoes each message of a WebSocket.
            """)
    var framing = Framing.bytes

    @Flag(help: "Compress the messages of a WebSocket whose client offers it.")
    var compress = false

    @Option(
        name: .customLong("exec"),
        help: "Let the shell run this for each client, with the client as its input and output.")
    var line: String?

    @Option(
        help: """
            A UNIX path at which the echo server that runs hands its port to this one, and this one \
            to the next. Not for tls or udp.
            """)
    var handOver: String?

    // For measurements: each face of the engine costs something else.
    @Option(help: .hidden)
    var style = Style.callbacks

    @Flag(help: .hidden)
    var observing = false

    @Flag(help: .hidden)
    var measuring = false

    enum Framing: String, ExpressibleByArgument, CaseIterable, Sendable {
        case bytes, lines, http
    }

    enum Style: String, ExpressibleByArgument, CaseIterable, Sendable {
        case callbacks, async
        case asyncRead = "async-read"
    }

    func validate() throws {
        try serving.check()
        guard listen == nil || port == nil else {
            throw ValidationError("--listen and --port name a place twice: give one of them")
        }
        if case .datagrams = try place, framing != .bytes || style != .callbacks {
            throw ValidationError("--framing and --style are for streams, not for datagrams")
        }
        guard framing != .http || style == .callbacks else {
            throw ValidationError("--style is for --framing bytes and lines")
        }
        guard framing == .http || !compress else {
            throw ValidationError("--compress is for --framing http")
        }
        if let handOver {
            guard handOver.hasPrefix("/") || handOver.hasPrefix("./") else {
                throw ValidationError("--hand-over takes a path, such as /run/echo.handover")
            }
        }
        guard line != nil else { return }
        if framing != .bytes || style != .callbacks {
            throw ValidationError("--exec answers in place of --framing and --style")
        }
        if case .datagrams = try place {
            throw ValidationError("--exec is for streams, not for datagrams")
        }
    }

    private var place: Place {
        get throws {
            if let handOver {
                let own = ServerEndpoint.tcp(port: port ?? 8007, interface: .loopback)
                let endpoint =
                    try listen.map(handedOverEndpoint) ?? own
                return .streams(
                    endpoint.handedOver(by: handOver, within: .seconds(serving.grace)))
            }
            guard let listen else {
                return .streams(ServerEndpoint.tcp(port: port ?? 8007, interface: .loopback))
            }
            let parser = try tls.parser()
            return try readEndpoint(serverText(listen)) { text throws(EndpointError) in
                try Place(parsing: text, by: parser)
            }
        }
    }

    /// What can be handed over: not what has TLS above it, and no datagrams.
    private func handedOverEndpoint(_ listen: String) throws -> ServerEndpoint {
        let text = serverText(listen)
        do throws(EndpointError) {
            return try ServerEndpoint(parsing: text)
        } catch {
            guard case .unknownType = error else { throw ValidationError("\(error)") }
            let parser = try tls.parser()
            do throws(EndpointError) { _ = try Place(parsing: text, by: parser) } catch {
                // What is wrong with one that could not be handed over anyway is not of interest.
                if case .unknownType = error { throw ValidationError("\(error)") }
            }
            throw ValidationError(
                "'\(listen)' cannot be handed over: allowed with --hand-over is tcp, tcp6, unix, fd"
                    + " or systemd")
        }
    }

    func run() throws {
        let place = try place
        let (framing, style, threads) = (framing, style, serving.threads)
        var options = MessageEcho.options
        if compress { options.compression = MessageEcho.compression }
        let messageOptions = options
        let command = line.map { ProcessEndpoint(Command("sh", "-c", $0)) }
        try tls.announce()
        let (isObserving, isMeasuring) = (observing, measuring)
        try serving.run(handingOverBy: handOver) { reactor, announcement in
            if isObserving { observe(reactor) }
            if isMeasuring { reactor.isMeasuring = true }
            switch place {
            case .datagrams(let endpoint):
                let port = try endpoint.listen(on: reactor) { DatagramEcho() }
                announcement.make(at: port.localAddress)
            case .streams(let endpoint) where style == .callbacks:
                if let command {
                    let factory = ProxyFactory(to: command, reactors: threads, on: reactor)
                    announcement.make(for: try endpoint.listen(on: reactor, factory: factory))
                    return
                }
                let port =
                    switch framing {
                    case .bytes: try endpoint.listen(on: reactor) { Echo() }
                    case .lines: try endpoint.listen(on: reactor) { LineEcho() }
                    case .http:
                        try endpoint.listen(on: reactor, http: HTTPServerOptions()) {
                            HTTPEcho(messageOptions)
                        }
                    }
                announcement.make(for: port)
            case .streams(let endpoint):
                try serve(endpoint, on: reactor, style, announcement)
            }
        }
    }

    /// Serves by tasks; `async` copies each read into bytes of its own, `async-read` does not.
    private func serve(
        _ endpoint: any StreamServerEndpoint, on reactor: Reactor, _ style: Style,
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
            reactor.printLine("\(error)")
            reactor.stop(within: .zero)
        }
    }
}

/// What a command can listen for.
enum Place {
    case streams(any StreamServerEndpoint)
    case datagrams(DatagramEndpoint)

    /// Reads what one of the two can read; a type that both know is one of streams.
    init(parsing text: String, by parser: EndpointParser) throws(EndpointError) {
        do throws(EndpointError) {
            self = .streams(try parser.server(parsing: text))
        } catch {
            guard case .unknownType(let type, let ofStreams) = error else { throw error }
            do throws(EndpointError) {
                self = .datagrams(try DatagramEndpoint(parsing: text))
            } catch {
                guard case .unknownType(_, let others) = error else { throw error }
                let further = others.filter { !ofStreams.contains($0) }
                throw .unknownType(type, allowed: ofStreams + further)
            }
        }
    }
}

/// Has connections told of, and looks at the statistics with each that is lost, for the price of it.
private func observe(_ reactor: Reactor) {
    var (made, lost) = (0, 0)
    reactor.connectionObserver.made = { _ in made += 1 }
    reactor.connectionObserver.lost = { _, transport in
        lost += 1
        _ = transport.reactor.statistics
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

/// Answers each request with its method, its target as it came, and its body without its coding.
private final class HTTPEcho: HTTPResponder {
    private static let bodyLimitBytes = 16 << 20
    private let options: WebSocketOptions

    /// - Parameter options: Of WebSockets.
    init(_ options: WebSocketOptions) { self.options = options }

    func requestReceived(_ head: borrowing RequestHead, _ exchange: consuming HTTPExchange) {
        let line = Bytes { writer in
            writer.write(head.methodBytes)
            writer.write(" ")
            writer.write(head.target)
            writer.write("\n")
        }
        if head.asksForWebSocket {
            return exchange.upgrade(toWebSocket: MessageEcho(), for: head, options: options)
        }
        guard head.hasBody else { return exchange.respond(.ok, body: line) }
        let body = exchange.body.collect(limitBytes: Self.bodyLimitBytes)
        exchange.respond(
            when: body.addCallback { body in
                let whole = Bytes(reserving: line.count + body.count) { writer in
                    writer.write(line)
                    writer.write(body)
                }
                return HTTPResponse(.ok, body: whole)
            })
    }
}

/// Sends every message of a WebSocket back.
final class MessageEcho: WebSocketProtocol {
    /// Messages as long as the bodies of requests.
    static var options: WebSocketOptions {
        var options = WebSocketOptions()
        options.messageLimitBytes = 16 << 20
        return options
    }

    /// Of every message: whoever asks for it here wants to see it.
    static var compression: WebSocketCompression {
        var compression = WebSocketCompression()
        compression.minimumByteCount = 0
        return compression
    }

    func messageReceived(
        _ message: RawSpan, _ kind: WebSocketMessage.Kind, from socket: WebSocket
    ) {
        socket.send(message, kind)
    }
}

/// Sends every datagram back to where it came from.
private final class DatagramEcho: DatagramProtocol {
    func datagramReceived(
        _ bytes: RawSpan, from address: SocketAddress, on transport: any DatagramTransport
    ) {
        // What had arrived before the port was connected may be from others than its peer.
        guard transport.peerAddress == nil || transport.peerAddress == address else { return }
        // There is nobody to tell: whoever sends datagrams expects that some are lost.
        try? transport.write(bytes, to: address)
    }

    func datagramFailed(_ error: IOError, on transport: any DatagramTransport) {}
}
