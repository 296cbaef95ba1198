// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors
import Torsion

/// What all clients share.
final class Store { var values: [String: Bytes] = [:] }

/// Speaks a part of memcached's protocol: a line, and behind `set` as many bytes as the line says.
final class Session: MessageProtocol {
    let messages = MessageBuffer(limitBytes: 4_096)
    private let store: Store

    init(_ store: Store) { self.store = store }

    /// Reads one message, as if all of it were there.
    ///
    /// If it is not, the reader throws `needsMore`, and this is called again, from the first byte of
    /// the message, when more has arrived.
    func messageReceived(_ reader: inout ByteReader, from transport: any StreamTransport) throws {
        print("called with \(reader.remainingByteCount) bytes")
        let words = String(decoding: try reader.readLine()).split(separator: " ").map(String.init)
        switch words.first {
        case "set" where words.count == 3:
            guard let count = Int(words[2]) else { return transport.write("CLIENT_ERROR\r\n") }
            let value = try reader.readBytes(count)
            try reader.expect("\r\n")
            // The whole message is read. Only now may it have an effect.
            store.values[words[1]] = value
            transport.write("STORED\r\n")
        case "get" where words.count == 2:
            guard let value = store.values[words[1]] else { return transport.write("END\r\n") }
            transport.write { writer in
                writer.write("VALUE \(words[1]) \(value.count)\r\n")
                writer.write(value.span)
                writer.write("\r\nEND\r\n")
            }
        default:
            transport.write("ERROR\r\n")
        }
    }

    func messageTooLong(_ error: MessageTooLong, from transport: any StreamTransport) {
        transport.write("SERVER_ERROR object too large\r\n")
    }
}

Reactor.main { reactor in
    let store = Store()
    let place = CommandLine.arguments.dropFirst().first ?? "tcp:8007"
    let port = try ServerEndpoint(parsing: place).listen(on: reactor) { Session(store) }
    print("listening on \(port.localAddress)")
}
