// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

import Torsion

/// A SOCKS5 proxy for CONNECT without a log-in, RFC 1928.
struct SocksServer {
    let reactor: Reactor
    var patience = Duration.seconds(30)

    struct Refused: Error {}

    /// Serves one client, to the end of its connection.
    func serve(_ client: AsyncConnection) async throws {
        guard let server = try await connect(for: client) else { return }
        try await reactor.concurrently(
            { try await carry(from: client, to: server) },
            { try await carry(from: server, to: client) })
    }

    private func carry(from source: AsyncConnection, to target: AsyncConnection) async throws {
        for try await bytes in source.inbound { try await target.write(bytes) }
        target.finishWriting()
    }

    /// Agrees with the client, and connects where it wants to go.
    ///
    /// - Returns: Nil if that cannot be reached; the client has been told.
    private func connect(for client: AsyncConnection) async throws -> AsyncConnection? {
        let place = try await reactor.withTimeout(patience) { try await readRequest(client) }
        do {
            let server = try await place.connect(on: reactor).value
            try await client.write([5, 0, 0, 1, 0, 0, 0, 0, 0, 0])
            return server
        } catch is IOError {
            // "Host unreachable" (§6).
            try await client.write([5, 4, 0, 1, 0, 0, 0, 0, 0, 0])
            return nil
        }
    }

    private func readRequest(_ client: AsyncConnection) async throws -> ClientEndpoint {
        let hello = try await client.read(exactly: 2)
        let methods = try await client.read(exactly: Int(hello[1]))
        guard hello[0] == 5, methods.span.contains(0) else { throw Refused() }
        try await client.write([5, 0])
        let request = try await client.read(exactly: 4)
        guard request[..<3] == Bytes([5, 1, 0]) else { throw Refused() }
        switch request[3] {
        case 1:
            let address = try await client.read(exactly: 4)
            let ip = IPv4Address(address[0], address[1], address[2], address[3])
            return .address(.ipv4(ip, port: try await readPort(client)))
        case 3:
            let length = try await client.read(exactly: 1)
            let host = String(decoding: try await client.read(exactly: Int(length[0])))
            return .tcp(host: host, port: try await readPort(client))
        default: throw Refused()
        }
    }

    private func readPort(_ client: AsyncConnection) async throws -> UInt16 {
        let bytes = try await client.read(exactly: 2)
        var reader = bytes.reader
        return try reader.readInteger()
    }
}
