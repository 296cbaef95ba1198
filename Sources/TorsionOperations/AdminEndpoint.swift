// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

internal import Glibc
public import TorsionCore
internal import TorsionProtocols

/// A UNIX socket at which an operator asks a running program: a line in, a line of JSON out.
///
///     try AdminEndpoint(parsing: "unix:/run/app.admin:mode=600").listen(on: reactor)
///
///     $ echo inspect | socat - UNIX-CONNECT:/run/app.admin
///     $ torsion doctor unix:/run/app.admin
///
/// Only the user that the program runs as, and root, are answered (`SO_PEERCRED`), and only over a
/// UNIX socket. An answer is an object: `{"ok":…}`, or `{"error":"…"}`. There are
///
/// - `help`, the commands;
/// - `inspect`, `Reactor.inspect()`;
/// - `ready`, `Reactor.isReady`;
/// - `measure on` and `measure off`, `Reactor.isMeasuring`;
/// - `slow MILLISECONDS` and `slow off`, `Reactor.slowEventLimit`;
///
/// and those that you ``add(_:help:_:)``. It speaks of the reactor on which it listens: in a group, give
/// each a path of its own.
public struct AdminEndpoint: Sendable {
    /// The body of a command.
    ///
    /// - Parameters:
    ///   - words: The words behind its name.
    ///   - reactor: Where the endpoint listens.
    /// - Returns: The answer, as JSON.
    /// - Throws: What becomes an answer with `error`.
    public typealias Command =
        @Sendable (_ words: [String], _ reactor: Reactor) throws -> any Encodable

    struct Entry: Sendable {
        let help: String
        let body: Command
    }

    private let endpoint: any StreamServerEndpoint
    private(set) var commands: [String: Entry] = AdminEndpoint.own

    /// Asked at any endpoint.
    ///
    /// - Parameter endpoint: A UNIX socket; its file should have a mode of 600.
    public init(_ endpoint: any StreamServerEndpoint) { self.endpoint = endpoint }

    /// Asked at a UNIX socket.
    ///
    /// - Parameter text: As of `ServerEndpoint.init(parsing:)`. The file's mode is 600
    ///   unless the text says otherwise.
    /// - Throws: `EndpointError`, which says what is allowed.
    public init(parsing text: String) throws(EndpointError) {
        var endpoint = try ServerEndpoint(parsing: text)
        if endpoint.options.unixMode == nil { endpoint.options.unixMode = 0o600 }
        self.init(endpoint)
    }

    /// Adds a command, in the place of one of the same name.
    ///
    /// - Parameters:
    ///   - name: Its first word, without spaces.
    ///   - help: Its line in the output of `help`.
    ///   - body: Called on the reactor.
    public mutating func add(_ name: String, help: String, _ body: @escaping Command) {
        require(
            !name.isEmpty && !name.contains(where: \.isWhitespace),
            "AdminEndpoint: a command's name is one word, not \"\(name)\"")
        commands[name] = Entry(help: help, body: body)
    }

    /// Listens.
    ///
    /// - Parameter reactor: Which is asked.
    /// - Returns: The port, which accepts from now on.
    /// - Throws: `IOError` that names the place and the cause.
    @discardableResult
    public func listen(on reactor: Reactor) throws(IOError) -> ListeningPort {
        try endpoint.listen(on: reactor) { [commands] in AdminConnection(commands) }
    }

    // MARK: The commands that each has

    private struct BadArgument: Error, CustomStringConvertible {
        let description: String
    }

    private static let own: [String: Entry] = [
        "inspect": Entry(help: "what is open: connections, ports, delayed calls, tasks, counts") {
            _, reactor in reactor.inspect()
        },
        "ready": Entry(help: "whether clients should be sent here") { _, reactor in
            reactor.isReady
        },
        "measure": Entry(help: "on or off: measure events and bytes") { words, reactor in
            switch words {
            case ["on"]: reactor.isMeasuring = true
            case ["off"]: reactor.isMeasuring = false
            default: throw BadArgument(description: "measure takes on or off")
            }
            return reactor.isMeasuring
        },
        "slow": Entry(help: "MILLISECONDS or off: tell of events that take so long") {
            words, reactor in
            if words == ["off"] {
                reactor.slowEventLimit = nil
            } else if words.count == 1, let limit = Int(words[0]), 1...86_400_000 ~= limit {
                reactor.slowEventLimit = .milliseconds(limit)
            } else {
                throw BadArgument(description: "slow takes 1 to 86400000 milliseconds, or off")
            }
            return words[0]
        },
    ]
}

/// Answers one operator.
private final class AdminConnection: LineProtocol {
    let lines = LineDecoder(limitBytes: 4_096)
    private let commands: [String: AdminEndpoint.Entry]

    init(_ commands: [String: AdminEndpoint.Entry]) { self.commands = commands }

    func connectionMade(_ transport: any StreamTransport) {
        let user = transport.peerCredentials?.userID
        guard user == geteuid() || user == 0 else { return transport.abortConnection() }
    }

    func lineReceived(_ line: RawSpan, from transport: any StreamTransport) {
        let words = String(decoding: line).split(whereSeparator: \.isWhitespace).map(String.init)
        guard let name = words.first else { return }
        let answer: JSONValue
        do {
            answer = .object([
                JSONMember(name: "ok", value: try value(of: name, words, transport.reactor))
            ])
        } catch {
            answer = .object([JSONMember(name: "error", value: .string("\(error)"))])
        }
        transport.write(answer.text + "\n")
        // One answer a turn: whoever asks a thousand times at once holds nobody else up.
        transport.pauseProducing()
        transport.reactor.callLater(.zero) { transport.resumeProducing() }
    }

    private struct UnknownCommand: Error, CustomStringConvertible {
        let description: String
    }

    private func value(
        of name: String, _ words: [String], _ reactor: Reactor
    ) throws -> JSONValue {
        if let command = commands[name] {
            return try JSONValue(encoding: try command.body(Array(words.dropFirst()), reactor))
        }
        let names = commands.keys.sorted()
        guard name == "help" else {
            throw UnknownCommand(
                description: "no command \"\(name)\"; there are help, "
                    + names.joined(separator: ", "))
        }
        return .object(
            names.map { JSONMember(name: $0, value: .string(commands[$0]?.help ?? "")) })
    }
}
