// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

import Torsion

// snippet: SocksEndpoint
/// Connects through a SOCKS5 server: RFC 1928, without authentication.
struct SocksEndpoint: StreamClientEndpoint {
    let proxy: ClientEndpoint
    let host: String
    let port: UInt16

    func openStream(on reactor: Reactor) -> Deferred<ByteStream> {
        proxy.filtered { [host, port] in SocksHandshake(to: host, port: port) }
            .openStream(on: reactor)
    }
}

/// Asks the server for a connection, and is in the path no more when there is one.
final class SocksHandshake: StreamFilter {
    struct Refused: Error { let reply: UInt8 }

    private let request: [UInt8]
    private var received: [UInt8] = []
    private var hasGreeted = false

    init(to host: String, port: UInt16) {
        let name = Array(host.utf8.prefix(255))
        request =
            [5, 1, 0, 3, UInt8(name.count)] + name
            + [UInt8(port >> 8), UInt8(truncatingIfNeeded: port)]
        super.init()
    }

    override func begin() { send([5, 1, 0]) }

    override func receive(_ bytes: RawSpan) throws {
        received += [UInt8](bytes)
        if !hasGreeted {
            guard received.count >= 2 else { return }
            guard received[0] == 5, received[1] == 0 else { throw Refused(reply: received[1]) }
            received.removeFirst(2)
            hasGreeted = true
            send(Bytes(request))
        }
        // The version, the reply, 0, and the address that the server connects from.
        guard received.count >= 5 else { return }
        guard received[1] == 0 else { throw Refused(reply: received[1]) }
        let addressLength =
            switch received[3] {
            case 1: 4
            case 3: 1 + Int(received[4])
            case 4: 16
            default: throw Refused(reply: received[3])
            }
        let length = 4 + addressLength + 2
        guard received.count >= length else { return }
        withdraw(unread: Bytes(Array(received[length...])).span)
    }
}
// snippet end
