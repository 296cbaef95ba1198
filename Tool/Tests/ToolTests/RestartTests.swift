// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

import Glibc
import Synchronization
import Testing

/// Servers that follow each other at one listening socket, which each inherits.
@Suite(.serialized) struct RestartTests {
    /// A few, or what `TEST_RESTARTS` says: `make restarts` makes fifty.
    private static let restartCount =
        getenv("TEST_RESTARTS").flatMap { Int(String(cString: $0)) } ?? 3

    // Case E11
    @Test(arguments: ["libuv", "epoll", "io_uring"])
    func `no client loses an answer when the next server starts before the old one stops`(
        backend: String
    ) throws {
        let listener = try Socket.bound()
        try listener.listen(backlog: 1_000)
        let shared = listener.duplicateForChildren()
        defer { close(shared) }
        func start() throws -> Program {
            let arguments = ["echo", "--listen", "fd:\(shared)", "--backend", backend]
            let server = try Program("torsion", arguments + ["--grace", "20"])
            let line = server.readLine()
            try #require(line.hasPrefix("listening on "), "\(line)")
            return server
        }
        var server = try start()
        let load = try Load(clientCount: 24, port: listener.port)
        for _ in 0..<Self.restartCount {
            // Some time under load; each answer takes its part of it.
            for _ in 0..<10 { load.ask() }
            let next = try start()
            server.signal(SIGTERM)
            #expect(server.wait() == 0)
            server = next
        }
        load.stop()
        server.signal(SIGTERM)
        #expect(server.wait() == 0)
        #expect(load.lost.isEmpty, "of \(load.answered): \(load.lost)")
        #expect(load.answered > Self.restartCount * 100)
    }
}

/// Servers of which each takes the port of the one before, and has that stop when it is ready.
@Suite(.serialized) struct HandOverRestartTests {
    /// A few, or what `TEST_RESTARTS` says: `make restarts` makes fifty.
    private static let restartCount =
        getenv("TEST_RESTARTS").flatMap { Int(String(cString: $0)) } ?? 3

    // Case E11
    @Test(arguments: ["libuv", "epoll", "io_uring"])
    func `no client loses an answer when a server hands its port to the next`(
        backend: String
    ) throws {
        let path = "/tmp/torsion-handover.\(getpid()).\(backend)"
        var port: UInt16?
        var count = 0
        func start() throws -> Program {
            // One thread, then two, and so on.
            count += 1
            let server = try Program(
                "torsion",
                [
                    "echo", "--listen", "127.0.0.1:0", "--hand-over", path, "--backend", backend,
                    "--grace", "20", "--threads", "\(2 - count % 2)",
                ])
            let words = server.readLine().split(separator: " ")
            try #require(words.count == 5 && words[0] == "listening", "\(words)")
            port = UInt16(words[2].split(separator: ":").last ?? "")
            return server
        }
        // The kernel chooses the port; what is handed over goes by the text, which stays the same.
        var server = try start()
        let first = try #require(port)
        let load = try Load(clientCount: 64, port: first)
        for _ in 0..<Self.restartCount {
            for _ in 0..<10 { load.ask() }
            let next = try start()
            #expect(port == first)
            // Nobody tells it but the next one.
            #expect(server.wait() == 0)
            server = next
        }
        load.stop()
        server.signal(SIGTERM)
        #expect(server.wait() == 0)
        #expect(load.lost.isEmpty, "of \(load.answered): \(load.lost)")
        #expect(load.answered > Self.restartCount * 100)
        #expect(access(path, F_OK) != 0)
    }
}

/// Clients that connect, ask, and leave with the answer, again and again.
private final class Load: Sendable {
    private struct State {
        var answered = 0
        var lost: [String: Int] = [:]
    }

    private let port: UInt16
    private let state = Mutex(State())
    private let isOver = Atomic(false)
    private let threads = Mutex<[pthread_t]>([])

    var answered: Int { state.withLock { $0.answered } }
    /// What was seen in place of an answer, and how often.
    var lost: [String: Int] { state.withLock { $0.lost } }

    init(clientCount: Int, port: UInt16) throws {
        self.port = port
        for _ in 0..<clientCount {
            var thread = pthread_t()
            let code = pthread_create(
                &thread, nil,
                { context in
                    let load = Unmanaged<Load>.fromOpaque(context!).takeRetainedValue()
                    while !load.isOver.load(ordering: .relaxed) { load.ask() }
                    return nil
                }, Unmanaged.passRetained(self).toOpaque())
            guard code == 0 else { throw CallFailure(call: "pthread_create", code: code) }
            threads.withLock { $0.append(thread) }
        }
    }

    /// One client.
    func ask() {
        let result: String
        do {
            let client = try Socket(port: port)
            client.write("x")
            result = client.receive() ?? "an error"
        } catch {
            result = "\(error)"
        }
        state.withLock { state in
            if result == "x" {
                state.answered += 1
            } else {
                state.lost[result.isEmpty ? "the end" : result, default: 0] += 1
            }
        }
    }

    func stop() {
        isOver.store(true, ordering: .relaxed)
        for thread in threads.withLock({ $0 }) { pthread_join(thread, nil) }
    }
}
