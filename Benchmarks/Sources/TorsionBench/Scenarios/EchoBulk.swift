// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

// Measures: four connections that carry all they can, a mebibyte in flight on each: the kernel's
// copies, how large the server's reads are, and what it does when a socket takes no more.
//
// Does not measure: latency; p50 and p99 are those of a 64 KiB chunk behind fifteen others.
//
// Expected: two copies of 64 KiB a chunk are nearly all of it. At most 1.05 times the CPU of the
// best C server: a copy more in user space would show as 1.2 and more.
extension Scenario {
    static let echoBulk = Scenario(
        name: "echo.bulk", summary: "1 MiB in flight on each of 4 connections, in 64 KiB chunks",
        unit: "chunk", connections: 4, size: 65_536, depth: 16, countedLengths: (400, 1_200),
        bounds: ["torsion-libuv", "torsion-epoll", "torsion-io_uring"].map {
            Bound(server: $0, factor: 1.05, reference: .bestTwin)
        } + [.ringAsGoodAsEpoll])
}
