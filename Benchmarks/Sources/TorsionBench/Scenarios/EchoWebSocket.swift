// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

// Measures: the echo of one message of 64 bytes on each of sixteen WebSockets: a masked frame comes, one without
// a mask goes.
//
// Does not measure: handshakes, fragments or compression.
//
// Expected: a frame is taken from the read and put into the write without memory of its own. No ratio to
// SwiftNIO was set as an aim; less CPU than it takes is what is asked.
extension Scenario {
    static let echoWebSocket = Scenario(
        name: "websocket.16connections",
        summary: "one 64-byte message in flight on each of 16 WebSockets",
        load: .webSocket, connections: 16, isSlow: true,
        servers: ["torsion-epoll", "nio-websocket"], framing: .webSocket,
        countedLengths: (4_000, 36_000),
        bounds: [Bound(server: "torsion-epoll", factor: 1, reference: .server("nio-websocket"))])
}
