// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

// Measures: one 64-byte datagram in flight on each of 64 UDP sockets, echoed by one socket: what a
// datagram costs when some wait at once, as they do on a busy server.
//
// Does not measure: loss. A datagram that got lost is sent again after 100 ms; with more than one in a
// thousand of them the measurement fails. Nothing either of many ports, or of large datagrams.
//
// Expected: within 5 % of `udp-c`, which takes and sends what waits by one `recvmmsg` and one
// `sendmmsg`, as Torsion does. Half of SwiftNIO's CPU is what was asked for; but loopback UDP alone is
// four microseconds a datagram in the kernel, so that the C server itself needs 0.6 of `nio` (its
// example of a UDP echo, a `recvfrom` for each datagram and a `sendmmsg` for those of a wait) and
// more than 0.8 of `nio-vectored`, which is told to receive 32 at once.
extension Scenario {
    static let echoUDP = Scenario(
        name: "echo.udp", summary: "one 64-byte datagram in flight on each of 64 UDP sockets",
        unit: "datagram", load: .datagrams, connections: 64,
        servers: [
            "udp-c", "torsion-libuv", "torsion-epoll", "torsion-io_uring", "nio", "nio-vectored",
        ],
        framing: .datagrams,
        bounds: ["torsion-libuv", "torsion-epoll", "torsion-io_uring"].flatMap { server in
            [("udp-c", 1.05), ("nio", 0.5), ("nio-vectored", 1)].map {
                Bound(server: server, factor: $0.1, reference: .server($0.0))
            }
        })
}
