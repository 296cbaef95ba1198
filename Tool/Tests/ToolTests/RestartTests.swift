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
        try restart(backend, .bytes)
    }

    @Test(arguments: ["libuv", "epoll", "io_uring"])
    func `H-41: no request is lost when an HTTP server follows another at one socket`(
        backend: String
    ) throws {
        try restart(backend, .http)
    }

    private func restart(_ backend: String, _ framing: Load.Framing) throws {
        let listener = try Socket.bound()
        try listener.listen(backlog: 1_000)
        let shared = listener.duplicateForChildren()
        defer { close(shared) }
        func start() throws -> Program {
            let arguments =
                ["echo", "--listen", "fd:\(shared)", "--backend", backend]
                + ["--framing", framing.rawValue]
            let server = try Program("torsion", arguments + ["--grace", "20"])
            let line = server.readLine()
            try #require(line.hasPrefix("listening on "), "\(line)")
            return server
        }
        var server = try start()
        let load = try Load(clientCount: 24, port: listener.port, framing)
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

/// Servers that follow each other at one port, each with a socket of its own.
@Suite(.serialized) struct SharedPortRestartTests {
    private static let restartCount =
        getenv("TEST_RESTARTS").flatMap { Int(String(cString: $0)) } ?? 3

    // The kernel resets whoever is between the handshake and the queue of a socket that closes. The first
    // packets of a client do not reach one that closes in the next turn, so on a machine of its own the
    // handshake is over by then.
    @Test(arguments: ["libuv", "epoll", "io_uring"])
    func `with reuseport hardly anybody is reset, and nobody who was accepted is left unanswered`(
        backend: String
    ) throws {
        var port: UInt16 = 0
        func start() throws -> Program {
            let place = "tcp:\(port):interface=127.0.0.1:reuseport=yes"
            let server = try Program(
                "torsion", ["echo", "--listen", place, "--backend", backend, "--grace", "20"])
            let words = server.readLine().split(separator: " ")
            try #require(words.count == 5 && words[0] == "listening", "\(words)")
            port = try #require(UInt16(words[2].split(separator: ":").last ?? ""))
            return server
        }
        var servers = [try start(), try start()]
        let clientCount = 24
        let load = try Load(clientCount: clientCount, port: port)
        for _ in 0..<Self.restartCount {
            for _ in 0..<20 { load.ask() }
            servers.append(try start())
            for _ in 0..<20 { load.ask() }
            let former = servers.removeFirst()
            former.signal(SIGTERM)
            #expect(former.wait() == 0)
        }
        load.stop()
        for server in servers {
            server.signal(SIGTERM)
            #expect(server.wait() == 0)
        }
        // A connection that ends in peace without an answer had been accepted.
        #expect(load.lost["the end"] == nil, "of \(load.answered): \(load.lost)")
        let limit = max(1, load.answered / 10_000)
        #expect(
            load.lost.values.reduce(0, +) <= limit, "of \(load.answered): \(load.lost)")
        #expect(load.answered > Self.restartCount * 100)
        if Self.restartCount >= 50 { print("\(backend): \(load.answered), lost \(load.lost)") }
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
///
/// Those of HTTP ask over a connection that is kept until the server says that it ends it.
private final class Load: Sendable {
    enum Framing: String { case bytes, http }

    private struct State {
        var answered = 0
        var lost: [String: Int] = [:]
    }

    private let port: UInt16
    private let framing: Framing
    private let state = Mutex(State())
    private let isOver = Atomic(false)
    private let threads = Mutex<[pthread_t]>([])

    var answered: Int { state.withLock { $0.answered } }
    /// What was seen in place of an answer, and how often.
    var lost: [String: Int] { state.withLock { $0.lost } }

    init(clientCount: Int, port: UInt16, _ framing: Framing = .bytes) throws {
        self.port = port
        self.framing = framing
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
        if framing == .http { return askHTTP() }
        let result: String
        do {
            let client = try Socket(port: port)
            client.write("x")
            result = client.receive() ?? "an error"
        } catch {
            result = "\(error)"
        }
        note(result, wanted: "x")
    }

    private func note(_ result: String, wanted: String) {
        state.withLock { state in
            if result == wanted {
                state.answered += 1
            } else {
                state.lost[result.isEmpty ? "the end" : result, default: 0] += 1
            }
        }
    }

    /// One client that asks up to fifty times.
    private func askHTTP() {
        let body = "GET /\n"
        guard let client = try? Socket(port: port) else {
            return note("no connection", wanted: body)
        }
        for _ in 0..<50 where !isOver.load(ordering: .relaxed) {
            client.write("GET / HTTP/1.1\r\nHost: a\r\n\r\n")
            var answer = ""
            while !answer.hasSuffix("\r\n\r\n" + body), let more = client.receive(), !more.isEmpty {
                answer += more
            }
            let isWhole = answer.hasPrefix("HTTP/1.1 200 ") && answer.hasSuffix("\r\n\r\n" + body)
            note(isWhole ? body : answer, wanted: body)
            if !isWhole || answer.contains("\r\nConnection: close\r\n") { return }
        }
    }

    func stop() {
        isOver.store(true, ordering: .relaxed)
        for thread in threads.withLock({ $0 }) { pthread_join(thread, nil) }
    }
}
