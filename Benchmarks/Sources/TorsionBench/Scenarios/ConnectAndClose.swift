// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

// Measures: a connection that is made, carries one 64-byte message and its answer, and is closed by
// the client, sixteen at a time: accepting, making the objects of a connection and letting them go.
//
// Does not measure: a server that closes first, or TLS. The clients come from 250 loopback addresses, so
// that connections in TIME_WAIT do not run the kernel out of ports.
//
// Expected: 40 microseconds, most of them the kernel's handshake and teardown; at most 1.1 times the
// C server over the same interface, and at most three allocations a connection. Its system calls are
// the C server's, and one more over epoll.
extension Scenario {
    static let connectAndClose = Scenario(
        name: "connect", summary: "connect, one 64-byte message, close; sixteen at a time",
        unit: "connection", load: .connect, connections: 16, countedLengths: (500, 5_500),
        bounds: Bound.backends(within: 1.1))
}
