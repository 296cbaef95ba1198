// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

import Torsion

/// A bot that joins a channel and answers who speaks to it, RFC 2812.
struct IRCBot {
    let name: String
    let channel: String
    let reactor: Reactor
    /// How often it asks whether the server is still there.
    var pingInterval = Duration.seconds(60)

    /// Says hello to everybody who names it, until somebody says goodbye.
    func run(at endpoint: ClientEndpoint) async throws {
        try await run(over: try await endpoint.connect(on: reactor).value)
    }

    func run(over connection: AsyncConnection) async throws {
        try await connection.write("NICK \(name)\r\nUSER \(name) 0 * :a bot\r\n")
        try await reactor.withBackground {
            while true {
                try await reactor.sleep(for: pingInterval)
                try await connection.write("PING :\(name)\r\n")
            }
        } while: {
            // A line has up to 512 bytes with its end (§2.3).
            for try await line in connection.lines(limitBytes: 510) {
                let message = Message(line)
                guard try await answer(message, over: connection) else { break }
            }
        }
        try await connection.write("QUIT :bye\r\n")
        connection.finishWriting()
    }

    /// - Returns: Whether to go on.
    private func answer(_ message: Message, over connection: AsyncConnection) async throws -> Bool {
        switch message.command {
        case "PING": try await connection.write("PONG :\(message.text)\r\n")
        case "001": try await connection.write("JOIN \(channel)\r\n")
        case "433": try await connection.write("NICK \(name)_\r\n")
        case "PRIVMSG" where message.text.contains(name):
            guard !message.text.contains("goodbye") else { return false }
            try await connection.write("PRIVMSG \(channel) :hello, \(message.sender)\r\n")
        default: break
        }
        return true
    }
}

/// One line: `:sender!user@host COMMAND parameters :text`.
struct Message {
    var sender = ""
    var command = ""
    var text = ""

    init(_ line: Bytes) {
        var reader = line.reader
        if (try? reader.peekByte()) == UInt8(ascii: ":"), let prefix = try? reader.readWord() {
            let end = prefix.firstIndex(of: UInt8(ascii: "!")) ?? prefix.byteCount
            sender = String(decoding: prefix[1..<end])
        }
        if let word = try? reader.readWord() { command = String(decoding: word) }
        let rest = reader.readRest()
        guard let colon = rest.firstIndex(of: ":") else { return }
        text = String(decoding: rest[(colon + 1)...])
    }
}
