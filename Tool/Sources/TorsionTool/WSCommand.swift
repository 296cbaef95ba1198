// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

internal import ArgumentParser
internal import FoundationEssentials
internal import Torsion
@_spi(Tool) internal import TorsionCore
internal import TorsionHTTP
internal import TorsionTLS
internal import TorsionWebSocket

/// `torsion ws`: talks to a WebSocket.
struct WSCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "ws",
        abstract: "Send lines to a WebSocket as messages, and print the messages that come.",
        discussion: """
            Each line of standard input is a text message, each message that comes is printed on a \
            line. At the end of standard input the socket is closed, and what the server sends before \
            it closes as well is printed. A server that closes with another code than 1000 or 1001 is \
            an error. SIGINT and SIGTERM close the \
            socket too; at the second one the command ends at once.
            """)

    @Argument(help: "Where to connect to, for example ws://example.org/chat, or wss: over TLS.")
    var url: String

    @Flag(help: "Send each message back until the server closes; standard input is not read.")
    var echo = false

    @Flag(help: "Offer to compress messages, by permessage-deflate.")
    var compress = false

    @Option(help: "The subprotocols to offer, with commas between.")
    var subprotocols = ""

    @Flag(
        help: """
            Print each message as an object: text, or binary in base64; and as the last line on \
            standard error one with closeCode, closeReason, received and sent messages, seconds, \
            exitStatus; error.
            """)
    var json = false

    @Option(
        help: ArgumentHelp(
            "libuv, epoll or io_uring; else what TORSION_BACKEND names, else libuv.",
            valueName: "name"))
    var backend: String?

    func validate() throws {
        let parsed: HTTPURL
        do throws(HTTPURLError) { parsed = try HTTPURL(parsing: url) } catch {
            let hint = url.contains("://") ? "" : ". Did you mean 'ws://\(url)'?"
            throw ValidationError("\(error)\(hint)")
        }
        guard parsed.scheme == .ws || parsed.scheme == .wss else {
            throw ValidationError("\(parsed) begins neither with ws: nor with wss:")
        }
        _ = try BackendChoice.chosen(backend)
    }

    func run() throws {
        let backend = try BackendChoice.chosen(backend)
        let session = Session(echoes: echo, isJSON: json)
        let dies = BrokenPipeSignal.isDefault
        var options = MessageEcho.options
        if compress { options.compression = MessageEcho.compression }
        options.subprotocols = subprotocols.split(separator: ",").map(String.init)
        var failure: (any Error)?
        do {
            try Reactor.run(backend: backend) { reactor in
                WebSocket.connect(
                    url, on: reactor, to: session, security: .tls, options: options
                )
                .whenFailed { session.end(with: $0, on: reactor) }
            }
            failure = session.failure
        } catch {
            failure = error
        }
        if json { try printErrorJSON(session.report(failure)) }
        if session.isOutputBroken, dies { BrokenPipeSignal.raise() }
        guard let failure else { return }
        if json { throw ExitCode(ExitStatus.of(failure)) }
        try reportingErrors { throw failure }
    }
}

/// What came of a socket, for programs.
private struct SocketReport: Encodable {
    let closeCode: UInt16?
    let closeReason: String?
    /// Messages.
    let received: Int
    /// Messages.
    let sent: Int
    let seconds: Double?
    let error: String?
    let advice: String?
    let exitStatus: Int32
}

/// A message, for programs.
private struct MessageObject: Encodable {
    let text: String?
    /// In base64.
    let binary: Data?
}

/// The command was told to end before the socket was open.
private struct InterruptedSession: Error, CustomStringConvertible {
    var description: String { "interrupted before the server had answered" }
}

/// The conversation: the socket's side, with a terminal beside it from its opening on.
private final class Session: WebSocketProtocol {
    private(set) var failure: (any Error)?
    /// Nobody reads standard output any more.
    private(set) var isOutputBroken = false
    private let echoes: Bool
    fileprivate let isJSON: Bool
    private var made: MonotonicInstant?
    private var lost: MonotonicInstant?
    private var loss: WebSocketLoss?
    private var received = 0
    private var sent = 0
    private var terminal: Terminal?
    /// A reader that takes its time (`| less`) does not lose what has arrived.
    private let gracePeriod = Duration.seconds(86_400)

    init(echoes: Bool, isJSON: Bool) {
        self.echoes = echoes
        self.isJSON = isJSON
    }

    func report(_ error: (any Error)?) -> SocketReport {
        let sentences = error.map(sentences)
        return SocketReport(
            closeCode: loss?.code.rawValue, closeReason: loss?.reason, received: received,
            sent: sent,
            seconds: made.flatMap { made in lost.map { seconds(made.duration(to: $0)) } },
            error: sentences?.sentence, advice: sentences?.advice,
            exitStatus: error.map(ExitStatus.of) ?? 0)
    }

    /// A message of ours.
    func send(_ text: String, to socket: WebSocket) {
        sent += 1
        socket.send(text)
    }

    func connectionMade(_ socket: WebSocket) throws {
        let terminal = Terminal(self, socket, isRead: !echoes)
        self.terminal = terminal
        made = socket.reactor.now
        // Nothing is read before there is somewhere to put it.
        socket.pauseReceiving()
        var endpoint = ServerEndpoint.standardStreams
        endpoint.options.closeTimeout = gracePeriod
        try endpoint.listen(on: socket.reactor) { terminal }
        // The socket is the program: a signal ends it, and the terminal behind it.
        socket.reactor.addTrigger(.during, .shutdown) { socket.close(.goingAway) }
    }

    func messageReceived(
        _ message: RawSpan, _ kind: WebSocketMessage.Kind, from socket: WebSocket
    ) {
        received += 1
        terminal?.print(message, kind)
        guard echoes else { return }
        sent += 1
        socket.send(message, kind)
    }

    func connectionLost(_ why: WebSocketLoss, from socket: WebSocket) {
        loss = why
        lost = socket.reactor.now
        switch why.code {
        case .normal, .goingAway, .none: if !why.isClean { failure = failure ?? why }
        default: failure = failure ?? why
        }
        terminal?.finish()
        terminal = nil
        socket.reactor.stop(within: gracePeriod)
    }

    func end(with error: any Error, on reactor: Reactor) {
        if failure == nil { failure = reactor.isStopping ? InterruptedSession() : error }
        reactor.stop(within: .zero)
    }

    /// Standard input and output have ended.
    func terminalLost(_ why: ConnectionLoss, _ socket: WebSocket) {
        guard case .failed(let error) = why else { return }
        if error.code == .brokenPipe { isOutputBroken = true }
        if failure == nil { failure = error }
        socket.close(.goingAway)
    }
}

/// Standard input and output.
private final class Terminal: LineProtocol, HalfCloseableProtocol {
    let lines = LineDecoder(limitBytes: 16 << 20)
    private let session: Session
    private let socket: WebSocket
    private let isRead: Bool
    private var transport: (any StreamTransport)?

    init(_ session: Session, _ socket: WebSocket, isRead: Bool) {
        self.session = session
        self.socket = socket
        self.isRead = isRead
    }

    func connectionMade(_ transport: any StreamTransport) {
        self.transport = transport
        socket.resumeReceiving()
        guard isRead else { return transport.pauseProducing() }
        socket.registerProducer(transport)
        transport.registerProducer(Printing(socket))
    }

    func lineReceived(_ line: RawSpan, from transport: any StreamTransport) {
        // What is not UTF-8 would be refused.
        session.send(String(decoding: line), to: socket)
    }

    func readConnectionLost(from transport: any StreamTransport) {
        let rest = lines.takePartial()
        if !rest.isEmpty { session.send(String(decoding: rest), to: socket) }
        socket.unregisterProducer()
        socket.finishSending()
    }

    func writeConnectionLost(from transport: any StreamTransport) {}

    /// Nothing more comes: what is queued leaves.
    func finish() {
        // It would be waited for.
        transport?.unregisterProducer()
        transport?.loseConnection()
    }

    func print(_ message: RawSpan, _ kind: WebSocketMessage.Kind) {
        guard session.isJSON else {
            transport?.write(message)
            transport?.write("\n")
            return
        }
        let object =
            kind == .text
            ? MessageObject(text: String(decoding: message), binary: nil)
            : MessageObject(text: nil, binary: message.withUnsafeBytes { Data($0) })
        // A string and base64 can always be written.
        if let line = try? json(object) { transport?.write(line + "\n") }
    }

    func connectionLost(_ why: ConnectionLoss, from transport: any StreamTransport) {
        self.transport = nil
        session.terminalLost(why, socket)
    }
}

/// Slows the server down for a slow reader of standard output.
private final class Printing: PushProducer {
    private let socket: WebSocket

    init(_ socket: WebSocket) { self.socket = socket }

    func pauseProducing() { socket.pauseReceiving() }

    func resumeProducing() { socket.resumeReceiving() }

    func stopProducing() {}
}
