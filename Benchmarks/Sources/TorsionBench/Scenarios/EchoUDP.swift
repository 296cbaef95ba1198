// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

// Measures: datagrams of 64 bytes, echoed by one socket. `echo.udp`: one in flight on each of 64 UDP
// sockets, so that some wait at once, as they do on a busy server. `echo.udp.bursts`: sixteen in
// flight on each of eight, as a peer sends them that has more to say than fits into one; so many
// that the kernel's usual buffer of a socket holds them all.
//
// Does not measure: loss. What got lost is sent again after 100 ms; with more than one in a thousand
// the measurement fails. Nothing either of many ports, or of large datagrams.
//
// Expected, of `echo.udp`: within 5 % of `udp-c`, which takes and sends what waits by one `recvmmsg`
// and one `sendmmsg`, as Torsion does. Half of SwiftNIO's CPU is what was asked for; but loopback UDP
// alone is four microseconds a datagram in the kernel, so that the C server itself needs 0.6 of `nio`
// (its example of a UDP echo, a `recvfrom` for each datagram and a `sendmmsg` for those of a wait)
// and more than 0.8 of `nio-vectored`, which is told to receive 32 at once.
//
// Expected, of `echo.udp.bursts`: less than half of `nio`, and less than `udp-c`, since what goes to
// one peer in a row leaves as segments of one message (`UDP_SEGMENT`).
extension Scenario {
    static let echoUDP = datagrams(
        "echo.udp", "one 64-byte datagram in flight on each of 64 UDP sockets", sockets: 64,
        depth: 1)

    static let echoUDPBursts = datagrams(
        "echo.udp.bursts", "sixteen 64-byte datagrams in flight on each of eight UDP sockets",
        sockets: 8, depth: 16)

    private static func datagrams(
        _ name: String, _ summary: String, sockets: Int, depth: Int
    ) -> Scenario {
        Scenario(
            name: name, summary: summary, unit: "datagram", load: .datagrams, connections: sockets,
            servers: [
                "udp-c", "torsion-libuv", "torsion-epoll", "torsion-io_uring", "nio",
                "nio-vectored",
            ],
            depth: depth, isBurst: depth > 1,
            framing: .datagrams,
            bounds: ["torsion-libuv", "torsion-epoll", "torsion-io_uring"].flatMap { server in
                [("udp-c", 1.05), ("nio", 0.5), ("nio-vectored", 1)].map {
                    Bound(server: server, factor: $0.1, reference: .server($0.0))
                }
            })
    }
}
