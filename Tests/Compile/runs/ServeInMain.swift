// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors
import Torsion

// expect: served: hello
// expect: stopped

@main
struct Program {
    static func main() {
        Reactor.main { reactor in
            let endpoint = try ServerEndpoint(parsing: "tcp:0:interface=127.0.0.1")
            reactor.spawn {
                try await endpoint.serve(
                    on: reactor, whenListening: { visit($0.localAddress, on: reactor) }
                ) { connection in
                    for try await bytes in connection.inbound { try await connection.write(bytes) }
                }
            }
        }
        print("stopped")
    }

    static func visit(_ address: SocketAddress, on reactor: Reactor) {
        reactor.spawn {
            let connection = try await ClientEndpoint.address(address).connect(on: reactor).value
            try await connection.write("hello")
            connection.finishWriting()
            let answer = try await connection.readToEnd(limitBytes: 100)
            print("served: \(answer)")
            reactor.stop()
        }
    }
}
