// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

// Measures: the echo of one message of 64 bytes on each of sixteen WebSockets, for the counts: a masked frame
// comes, one without a mask goes.
//
// Does not measure: handshakes, fragments, compression, time, or the kernel: instructions are those of user
// space.
//
// Expected: a frame is taken from the read and put into the write without memory of its own.
extension Scenario {
    static let echoWebSocket = Scenario(
        name: "websocket.16connections",
        summary: "one 64-byte message in flight on each of 16 WebSockets",
        load: .webSocket, connections: 16, servers: ["torsion-epoll"], framing: .webSocket,
        countedLengths: (4_000, 36_000))
}
