// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

import Testing
import Torsion
import TorsionTesting

@Suite
struct AsyncTests {
    @Test func `async code of a host goes by virtual time`() throws {
        let world = SimulatedWorld(seed: 1)
        let reactor = world.host("alone").reactor
        var moments: [Duration] = []
        try world.host("alone").run { reactor in
            reactor.spawn { [unowned world] in
                for hours in 1...3 {
                    try await reactor.sleep(for: .seconds(hours * 3_600))
                    moments.append(world.elapsed)
                }
            }
        }
        try world.run(limit: .seconds(100_000)) { moments.count == 3 }
        #expect(moments[2] >= .seconds(6 * 3_600) && moments[2] < .seconds(6 * 3_600 + 1))
        #expect(reactor.statistics.delayedCalls == 0)
        try world.finish()
    }

    /// Each would wait for the other for ever, if a client that cannot send did not read.
    @Test func `a client that sends much in one task reads the echo of it in another`() throws {
        let world = SimulatedWorld(seed: 1)
        let payload = [UInt8].pattern(count: 4_000_000)
        var received = StreamHash()
        try world.host("server").run { reactor in
            reactor.spawn {
                let endpoint = ServerEndpoint.address(.ipv4(.any, port: 7))
                try await endpoint.serve(on: reactor) { connection in
                    for try await bytes in connection.inbound {
                        try await connection.write(bytes)
                    }
                }
            }
        }
        try world.host("client").run { reactor in
            reactor.spawn {
                let connection = try await ClientEndpoint.tcp(host: "server", port: 7)
                    .connect(on: reactor).value
                try await reactor.concurrently(
                    {
                        try await connection.write(payload)
                        connection.finishWriting()
                    },
                    { while try await connection.read({ received.add($0) }) != nil {} })
            }
        }
        try world.run { received == StreamHash(payload) }
        try world.finish()
    }

    // MARK: What is not simulated

    @Test func `a task that sleeps elsewhere is told of reactor.sleep when nothing is left`() throws
    {
        let world = SimulatedWorld(seed: 1)
        try world.host("alone").run { reactor in
            reactor.spawn { try? await Task.sleep(for: .seconds(3_600)) }
        }
        let failure = #expect(throws: CheckFailure.self) { try world.run { false } }
        #expect(failure?.description.contains("nothing is left to happen") == true)
        #expect(failure?.description.contains("use reactor.sleep instead of Task.sleep") == true)
    }

    /// Keeps a world busy until `body` has had an effect elsewhere.
    private static func runLong(_ body: (Reactor) -> Void) throws {
        let world = SimulatedWorld(seed: 1)
        try world.host("alone").run { reactor in
            func tick() { reactor.callLater(.microseconds(1)) { tick() } }
            tick()
            body(reactor)
        }
        try world.run(limit: .seconds(100_000)) { false }
    }

    /// What `Task.sleep` does too, by a timer of Dispatch's, which may come seconds late on a busy machine.
    @Test func `a task that is resumed elsewhere traps, and is told of reactor.sleep`() async {
        let result = await #expect(
            processExitsWith: .failure, observing: [\.standardErrorContent]
        ) {
            try Self.runLong { reactor in
                reactor.spawn {
                    // One that is resumed before it waits goes on where it is.
                    while true {
                        await withUnsafeContinuation { waiting in
                            Task.detached { waiting.resume() }
                        }
                    }
                }
            }
        }
        let text = String(decoding: result?.standardErrorContent ?? [], as: UTF8.self)
        #expect(text.contains("a task of a simulated host was resumed on another thread"))
        #expect(text.contains("wait by reactor.sleep"))
    }

    @Test func `a call from another thread traps, and says why`() async {
        let result = await #expect(
            processExitsWith: .failure, observing: [\.standardErrorContent]
        ) {
            try Self.runLong { reactor in
                let handle = reactor.remote
                Task.detached { handle.callFromThread { _ in } }
            }
        }
        let text = String(decoding: result?.standardErrorContent ?? [], as: UTF8.self)
        #expect(text.contains("a call for a simulated host came from another thread"))
    }
}
