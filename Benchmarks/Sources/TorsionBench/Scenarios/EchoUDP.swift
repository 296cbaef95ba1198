// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

// Measures: one 64-byte datagram in flight on each of 64 UDP sockets, echoed by one socket: what a
// datagram costs when some wait at once, as they do on a busy server.
//
// Does not measure: loss. A datagram that got lost is sent again after 100 ms; with more than one in a
// thousand of them the measurement fails. Nothing either of many ports, or of large datagrams.
//
// Expected: at most half of SwiftNIO's CPU. Torsion takes and sends what waits by `recvmmsg` and
// `sendmmsg`, so that the kernel's UDP is nearly all of it. `nio` is SwiftNIO as its example of a
// UDP echo has it, a `recvfrom` for each datagram and a `sendmmsg` for those of a wait;
// `nio-vectored` is told to receive 32 at once, as its documentation advises.
extension Scenario {
    static let echoUDP = Scenario(
        name: "echo.udp", summary: "one 64-byte datagram in flight on each of 64 UDP sockets",
        unit: "datagram", load: .datagrams, connections: 64,
        servers: ["torsion-libuv", "torsion-epoll", "torsion-io_uring", "nio", "nio-vectored"],
        framing: .datagrams,
        bounds: ["torsion-libuv", "torsion-epoll", "torsion-io_uring"].flatMap { server in
            ["nio", "nio-vectored"].map {
                Bound(server: server, factor: 0.5, reference: .server($0))
            }
        })
}
