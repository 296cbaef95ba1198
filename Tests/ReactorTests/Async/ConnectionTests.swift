// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

import Testing
import Torsion

/// Connections that tasks read and write.
@Suite struct AsyncConnectionTests {
    @Test(arguments: backendNames)
    func `an echo in either face returns every byte`(name: String) throws {
        try runAsync(on: name) { world in
            let reactor = world.reactor
            let sent = pattern(3_000_000)
            let (_, copying) = try await world.serve { connection in
                for try await bytes in connection.inbound { try await connection.write(bytes) }
            }
            let (_, lending) = try await world.serve { connection in
                let transport = connection.transport
                while try await connection.read({ transport.write($0) }) != nil {}
            }
            for endpoint in [copying, lending] {
                let connection = try await endpoint.connect(on: reactor).value
                let (_, received) = try await reactor.concurrently(
                    {
                        for start in stride(from: 0, to: sent.count, by: 10_007) {
                            let end = min(start + 10_007, sent.count)
                            try await connection.write(sent[start..<end])
                        }
                        connection.finishWriting()
                    }, { try await connection.readToEnd(limitBytes: sent.count) })
                #expect(received == sent)
            }
        }
    }

    @Test(arguments: backendNames)
    func `writing waits above the high mark, and reading happens only when asked`(
        name: String
    ) throws {
        try runAsync(on: name) { world in
            let reactor = world.reactor
            let total = 32 * 1024 * 1024
            let chunk = Bytes([UInt8](repeating: 7, count: 32 * 1024))
            var written = 0
            var mostQueued = 0
            let (_, endpoint) = try await world.serve { connection in
                while written < total {
                    try await connection.write(chunk)
                    written += chunk.count
                    mostQueued = max(mostQueued, connection.transport.pendingByteCount)
                }
            }
            let connection = try await endpoint.connect(on: reactor).value
            // The writer stops by itself: nothing moves for a while.
            var before = -1
            while before != written {
                before = written
                try await reactor.sleep(for: .milliseconds(50))
            }
            #expect(written < total)
            var received = 0
            while let count = try await connection.read({ $0.byteCount }) { received += count }
            #expect(received == total && written == total)
            #expect(mostQueued <= Watermarks().high + chunk.count)
        }
    }

    @Test(arguments: backendNames)
    func `a cancelled read loses no byte`(name: String) throws {
        try runAsync(on: name) { world in
            let reactor = world.reactor
            let (_, endpoint) = try await world.serve { connection in
                for try await bytes in connection.inbound { try await connection.write(bytes) }
            }
            let connection = try await endpoint.connect(on: reactor).value
            await #expect(throws: TimeoutError.self) {
                try await reactor.withTimeout(.milliseconds(5)) {
                    try await connection.read { _ in }
                }
            }
            try await connection.write("still here")
            // Arrives while nobody reads, and is held.
            try await reactor.sleep(for: .milliseconds(20))
            let text = try await connection.read { String(decoding: $0) }
            #expect(text == "still here")
        }
    }

    @Test(arguments: backendNames)
    func `the peer's end ends reading, and what is written then still arrives`(name: String) throws
    {
        try runAsync(on: name) { world in
            let reactor = world.reactor
            let (_, endpoint) = try await world.serve { connection in
                let question = try await connection.readToEnd(limitBytes: 100)
                try await connection.write("you said \(String(decoding: question))")
            }
            let connection = try await endpoint.connect(on: reactor).value
            try await connection.write("hello")
            connection.finishWriting()
            let answer = try await connection.readToEnd(limitBytes: 100)
            #expect(answer == "you said hello")
            let more = try await connection.read { $0.byteCount }
            #expect(more == nil)
            let chatty = try await endpoint.connect(on: reactor).value
            try await chatty.write(String(repeating: "x", count: 101))
            // The server's handler throws, and the connection is reset.
            await #expect(throws: ConnectionLoss.self) { try await chatty.read { _ in } }
            #expect(world.unhandled.map { $0.error is ReadLimitExceeded } == [true])
        }
    }

    @Test(arguments: backendNames)
    func `a reset is thrown by who reads and who writes`(name: String) throws {
        try runAsync(on: name) { world in
            let reactor = world.reactor
            let (_, endpoint) = try await world.serve { connection in
                _ = try await connection.read { _ in }
                connection.transport.abortConnection()
            }
            let connection = try await endpoint.connect(on: reactor).value
            try await connection.write("!")
            await #expect(throws: ConnectionLoss.self) { try await connection.read { _ in } }
            await #expect(throws: ConnectionLoss.self) { try await connection.write("more") }
            #expect(world.unhandled.isEmpty)
        }
    }

    @Test(arguments: backendNames)
    func `a waiting writer is told of a reset`(name: String) throws {
        try runAsync(on: name) { world in
            let reactor = world.reactor
            let (_, endpoint) = try await world.serve { connection in
                try await reactor.sleep(for: .milliseconds(50))
                connection.transport.abortConnection()
            }
            let connection = try await endpoint.connect(on: reactor).value
            let chunk = Bytes([UInt8](repeating: 7, count: 256 * 1024))
            await #expect(throws: ConnectionLoss.self) {
                while true { try await connection.write(chunk) }
            }
        }
    }

    @Test(arguments: backendNames)
    func `a connection that is let go of closes`(name: String) throws {
        try runAsync(on: name) { world in
            let reactor = world.reactor
            var ended = 0
            let over = Deferred<Void>(on: reactor)
            let (_, endpoint) = try await world.serve { connection in
                while try await connection.read({ _ in }) != nil {}
                ended += 1
                if ended == 3 { over.succeed() }
            }
            for _ in 0..<3 { _ = try await endpoint.connect(on: reactor).value }
            try await over.value
            #expect(ended == 3)
        }
    }
}
