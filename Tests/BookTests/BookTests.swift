// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

import Glibc
import TestPrograms
import Testing

/// The programs of the book, each as its chapter runs it; what the chapter shows is what they say.
@Suite(.serialized) struct BookTests {
    @Test func `chapter 1: a second client waits until the first has gone`() throws {
        let server = try Server("BookBlocking", ["0"])
        let ann = try server.connect()
        let bob = try server.connect()
        ann.write("hello\n")
        #expect(ann.readLine() == "hello")
        #expect(server.program.readLine() == "client 1 is served")
        bob.write("hi\n")
        ann.close()
        #expect(bob.readLine() == "hi")
        bob.close()
        let lines = (0..<3).map { _ in server.program.readLine() }
        #expect(lines == ["client 1 has gone", "client 2 is served", "client 2 has gone"])
        try expectShown(["client 1 is served"] + lines, in: "BookOneClientAtATime")
        server.kill()
    }

    @Test func `chapter 2: poll serves two clients, and one that reads late gets all`() throws {
        let server = try Server("BookPoll", ["0"])
        let ann = try server.connect()
        let bob = try server.connect()
        bob.write("hi\n")
        #expect(bob.readLine() == "hi")
        // Ann sends more than the kernel keeps for her, and reads nothing until Bob was answered. What
        // she has sent comes back whole.
        let text = String(
            repeating: (0..<1_000).map { "line \($0)\n" }.joined(), count: 900)
        let writer = Writer(ann, text)
        bob.write("ho\n")
        #expect(bob.readLine() == "ho")
        #expect(ann.readToEnd() == text)
        writer.join()
        ann.close()
        bob.close()
        let lines = (0..<4).map { _ in server.program.readLine() }
        #expect(lines == ["1 connected", "2 connected", "1 connected", "0 connected"])
        try expectShown(lines, in: "BookWaitingForMany")
        server.kill()
    }

    @Test func `chapter 3: a reactor calls back for descriptors and for times`() throws {
        let server = try Server("BookReactor", ["0"])
        #expect(server.program.readLine() == "0 connected")
        let ann = try server.connect()
        let bob = try server.connect()
        for client in [ann, bob] {
            client.write("hello\n")
            #expect(client.readLine() == "hello")
        }
        #expect(server.program.readLine() == "2 connected")
        for client in [ann, bob] { client.close() }
        #expect(server.program.readLine() == "0 connected")
        try expectShown(["0 connected", "2 connected"], in: "BookReactorInSixtyLines")
        server.kill()
    }

    @Test func `chapter 4: a protocol above transports carries a chat`() throws {
        let server = try Server("BookProtocol", ["0"])
        try talk(server, in: "BookTransportAndProtocol")
        server.kill()
    }

    @Test(arguments: ["libuv", "epoll"])
    func `chapter 5: the same chat over Torsion, on each backend`(backend: String) throws {
        let server = try Server("BookTorsion", environment: ["TORSION_BACKEND=\(backend)"])
        try expectShown(
            ["listening on 0.0.0.0:8007, backend \(backend)"], in: "BookOverTorsion")
        #expect(server.line.hasSuffix(", backend \(backend)"))
        try talk(server, in: "BookOverTorsion")
        let line = server.program.readLine()
        #expect(line == "a member has left: closed by the peer")
        try expectShown([line], in: "BookOverTorsion")
        server.stop()
    }

    @Test func `chapter 6: a producer is paused while its client does not read`() throws {
        let server = try Server("BookSlowReader")
        let client = try server.connect()
        let line = server.program.readLine()
        let words = line.split(separator: " ")
        try #require(words.count == 7 && line.hasPrefix("paused at "), "\(line)")
        // Above the high mark of 64 KiB by what one call of `produce` writes, at most.
        let queued = try #require(Int(words[3]))
        #expect((65_536..<75_000).contains(queued), "\(line)")
        let produced = try #require(Int(words[2].dropLast()))
        // All that was written before the pause: a line for each number below.
        var missing = byteCount(ofNumbersBelow: produced)
        var bytes = [UInt8](repeating: 0, count: 65_536)
        let descriptor = client.duplicateForChildren()
        while missing > 0 {
            let count = read(descriptor, &bytes, bytes.count)
            try #require(count > 0)
            missing -= count
        }
        close(descriptor)
        #expect(server.program.readLine() == "resumed")
        try expectShown(["resumed"], in: "BookSlowReaders")
        server.stop(client)
    }

    @Test func `chapter 6: a careless server gives its client up at the limit`() throws {
        let server = try Server("BookSlowReader", ["careless"])
        let client = try server.connect()
        let line = server.program.readLine()
        let end = ": more bytes queued than the limit allows"
        #expect(line.hasPrefix("lost at ") && line.hasSuffix(end), "\(line)")
        let page = try chapter("BookSlowReaders")
        #expect(page.contains(end))
        server.stop(client)
    }

    @Test func `chapter 7: a consumer counts what a connection or a file has`() throws {
        let server = try Server("BookInterfaces")
        let client = try server.connect()
        client.write("one\ntwo\n")
        client.endOutput()
        let answer = client.readLine()
        #expect(answer == "2 lines, 8 bytes")
        let page = "BookInterfacesAndTheCompiler"
        let program = try Program("BookInterfaces", ["file", #filePath])
        let counted = program.readOutput()
        #expect(counted.contains(" lines, ") && counted.hasSuffix(" bytes\n"), "\(counted)")
        #expect(program.wait() == 0)
        let failing = try Program("BookInterfaces", ["file", "/nonexistent"])
        let error = "cannot open /nonexistent: no such file or directory (ENOENT)"
        #expect(failing.readOutput() == error + "\n")
        #expect(failing.wait() == 0)
        try expectShown([answer], in: page)
        try expectShown([error], in: page)
        server.stop(client)
    }

    @Test func `chapter 8: a message may arrive in pieces`() throws {
        let server = try Server("BookMessages")
        let client = try server.connect()
        client.write("set a 5\r\nhe")
        let first = server.program.readLine()
        #expect(first == "called with 11 bytes")
        client.write("llo\r\n")
        let second = server.program.readLine()
        #expect(second == "called with 16 bytes")
        #expect(client.readLine() == "STORED")
        client.write("get a\r\nget b\r\nfly\r\n")
        let answers = (0..<5).map { _ in client.readLine() }
        #expect(answers == ["VALUE a 5", "hello", "END", "END", "ERROR"])
        client.write("set a 99999\r\n")
        #expect(client.readToEnd() == "SERVER_ERROR object too large\r\n")
        try expectShown([first, second], in: "BookMessagesFromBytes")
        server.stop(client)
    }

    @Test(arguments: [
        ("BookDeferred", "BookDeferreds"), ("BookAwait", "BookTheSameWithAwait"),
    ])
    func `chapters 9 and 10: four servers are asked at once`(name: String, page: String) throws {
        let greeter = try Socket.bound()
        let silent = try Socket.bound()
        let shy = try Socket.bound()
        let closed = try Socket.bound()
        for listener in [greeter, silent, shy] { try listener.listen() }
        let places = [greeter, silent, shy, closed].map { "tcp:127.0.0.1:\($0.port)" }
        let program = try Program(name, places)
        try greeter.accept().write("220 hello\r\n")
        try shy.accept().close()
        let waiting = try silent.accept()
        var output = program.readOutput()
        #expect(program.wait() == 0)
        for (listener, port) in zip([greeter, silent, shy, closed], [2_525, 8_001, 8_002, 8_003]) {
            output = output.replacing(":\(listener.port)", with: ":\(port)")
        }
        let lines = output.split(separator: "\n").map(String.init)
        #expect(
            lines == [
                "tcp:127.0.0.1:2525 says 220 hello",
                "tcp:127.0.0.1:8001 says nothing for half a second",
                "tcp:127.0.0.1:8002: it closed without a word",
                "tcp:127.0.0.1:8003: cannot connect to 127.0.0.1:8003: connection refused"
                    + " (ECONNREFUSED)",
            ])
        try expectShown(lines, in: page)
        waiting.close()
    }

    @Test func `chapter 12: each reactor counts its own lines, and all count together`() throws {
        let server = try Server("BookManyCores")
        // Each of the four says so; the one that catches signals may be the last.
        let lines = [server.line] + (1...3).map { _ in server.program.readLine() }
        let shown = (1...4).map { "reactor \($0) listens on 127.0.0.1:8007" }
        #expect(lines.map { $0.replacing(":\(server.port)", with: ":8007") }.sorted() == shown)
        try expectShown(shown, in: "BookManyCores")
        var counts: [String: Int] = [:]
        for number in 1...12 {
            let client = try server.connect()
            client.write("x\n")
            let words = client.readLine().split(separator: " ").map(String.init)
            try #require(words.count == 8, "\(words)")
            counts[words[1], default: 0] += 1
            #expect(words[3] == "\(counts[words[1]]!)")
            #expect(words[5] == "\(number)")
            client.close()
        }
        #expect(counts.keys.allSatisfy { ["1:", "2:", "3:", "4:"].contains($0) }, "\(counts)")
        server.stop()
    }

    @Test func `chapter 13: an idle client is told so, and closed`() throws {
        let server = try Server("BookProduction", ["100"])
        let idle = try server.connect()
        let farewell = idle.readLine()
        #expect(farewell == "closed: idle")
        #expect(idle.readToEnd() == "")
        try expectShown([farewell], in: "BookInProduction")
        server.stop(idle)
    }

    @Test func `chapter 13: a server refuses, reports, and ends with its answers`() throws {
        let page = "BookInProduction"
        let server = try Server("BookProduction")
        let bad = try server.connect()
        bad.write("x\n")
        #expect(bad.readToEnd() == "")
        let failure = server.program.readLine()
        try expectShown([failure.replacing(":\(bad.port)", with: ":50002")], in: page)
        let working = try server.connect()
        let other = try server.connect()
        other.write("2\n")
        #expect(other.readLine() == "4")
        let refused = try server.connect()
        #expect(refused.readToEnd() == "")
        let refusal = server.program.readLine()
        try expectShown([refusal.replacing(":\(refused.port)", with: ":50003")], in: page)
        server.program.signal(SIGHUP)
        let figures = server.program.readLine()
        #expect(figures == "open 2, made 3, failed 1, queued 0 bytes")
        // A line that arrived before the stop is answered, in spite of it.
        working.write("1\n3\n")
        server.program.signal(SIGTERM)
        #expect(working.readToEnd() == "2\r\n6\r\n")
        for client in [bad, working, other, refused] { client.close() }
        #expect(server.program.readLine() == "open 0, made 3, failed 1, queued 0 bytes")
        #expect(server.program.wait() == 0)
        try expectShown([figures], in: page)
    }

    /// How long the lines are of 1, 2 and so on.
    private func byteCount(ofNumbersBelow end: Int) -> Int {
        var sum = 0, first = 1, digitCount = 1
        while first < end {
            sum += (min(end, first * 10) - first) * (digitCount + 1)
            (first, digitCount) = (first * 10, digitCount + 1)
        }
        return sum
    }

    /// Two members come, and one speaks and goes.
    private func talk(_ server: Server, in page: String) throws {
        let ann = try server.connect()
        let first = ann.readLine()
        #expect(first == "welcome, you are one of 1")
        let bob = try server.connect()
        let second = bob.readLine()
        #expect(second == "welcome, you are one of 2")
        ann.write("hello\n")
        #expect(bob.readLine() == "hello")
        bob.write("hi\n")
        // Had her own line come back, it would have come first.
        #expect(ann.readLine() == "hi")
        for line in [first, second] { try expectShown([line], in: page) }
        ann.close()
        bob.close()
    }
}

/// A server of the book, on a port of the kernel's choice.
private struct Server {
    let program: Program
    let port: UInt16
    /// What it said when it listened.
    let line: String

    init(_ name: String, _ arguments: [String] = [], environment: [String] = []) throws {
        let first = arguments.first == "0" ? [] : ["tcp:0:interface=127.0.0.1"]
        program = try Program(name, first + arguments, environment: environment)
        line = program.readLine()
        let number = line.prefix { $0 != "," }.split { $0 == " " || $0 == ":" }.last ?? ""
        port = try #require(UInt16(number), "\(line)")
    }

    func connect() throws -> Socket { try Socket(port: port) }

    /// Ends one that stops gracefully, when its clients have gone.
    func stop(_ clients: Socket...) {
        clients.forEach { $0.close() }
        program.signal(SIGTERM)
        #expect(program.wait() == 0)
    }

    /// Ends one that does not know how to stop.
    func kill() {
        program.signal(SIGTERM)
        #expect(program.wait() == -SIGTERM)
    }
}

/// Writes on a thread of its own, and then ends the outgoing direction.
private final class Writer {
    private final class Work: Sendable {
        nonisolated(unsafe) let socket: Socket  // its reader uses another direction
        let text: String
        init(_ socket: Socket, _ text: String) { (self.socket, self.text) = (socket, text) }
    }

    private var thread = pthread_t()

    init(_ socket: Socket, _ text: String) {
        let work = Unmanaged.passRetained(Work(socket, text)).toOpaque()
        let code = pthread_create(
            &thread, nil,
            { context in
                let work = Unmanaged<Work>.fromOpaque(context!).takeRetainedValue()
                work.socket.write(work.text)
                work.socket.endOutput()
                return nil
            }, work)
        precondition(code == 0, "pthread_create: \(code)")
    }

    func join() { pthread_join(thread, nil) }
}

/// The text of a chapter.
private func chapter(_ name: String) throws -> String {
    let root = #filePath.split(separator: "/").dropLast(3).joined(separator: "/")
    let path = "/\(root)/Sources/Torsion/Torsion.docc/Book/\(name).md"
    guard let file = fopen(path, "r") else { throw CallFailure(call: "open \(path)", code: errno) }
    defer { fclose(file) }
    var bytes: [UInt8] = []
    var buffer = [UInt8](repeating: 0, count: 65_536)
    while case let count = fread(&buffer, 1, buffer.count, file), count > 0 {
        bytes += buffer[..<count]
    }
    return String(decoding: bytes, as: UTF8.self)
}

/// Holds what a chapter shows to what its program says: these lines stand there, one below the other.
private func expectShown(_ lines: [String], in name: String) throws {
    let page = try chapter(name)
    #expect(page.contains("\n" + lines.joined(separator: "\n") + "\n"), "\(name): \(lines)")
}
