// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

import Glibc
import TestPrograms
import Testing

/// A program of Sources/Examples that listens on a port of the kernel's choice.
private struct Server {
    let program: Program
    let port: UInt16
    /// What it said when it listened.
    let line: String

    init(_ name: String, _ arguments: [String] = [], environment: [String] = []) throws {
        // Into a pipe, as under a supervisor: the line is to come at once there, too.
        program = try Program(
            name, ["tcp:0:interface=127.0.0.1"] + arguments, environment: environment)
        line = program.readLine()
        let prefix = "listening on 127.0.0.1:"
        try #require(line.hasPrefix(prefix), "\(line)")
        port = try #require(UInt16(line.dropFirst(prefix.count).prefix(while: \.isNumber)))
    }

    func connect() throws -> Socket { try Socket(port: port) }

    /// Ends it as an administrator does, when the clients have gone.
    func stop(_ clients: Socket...) {
        clients.forEach { $0.close() }
        program.signal(SIGTERM)
        #expect(program.wait() == 0)
    }
}

/// A new folder of its own.
private func temporaryFolder() -> String? {
    var template = Array("/tmp/torsion-example-XXXXXX".utf8CString)
    guard mkdtemp(&template) != nil else { return nil }
    return String(
        decoding: template.dropLast().map { UInt8(bitPattern: $0) }, as: UTF8.self)
}

/// Each example runs as a program, over real sockets, with plain sockets for peers.
@Suite(.serialized) struct ExampleTests {
    @Test func `Echo sends back what it gets`() throws {
        let server = try Server("Echo")
        let client = try server.connect()
        client.write("hello")
        client.endOutput()
        #expect(client.readToEnd() == "hello")
        server.stop()
    }

    @Test func `Chat carries a line to the others and not back`() throws {
        let server = try Server("Chat")
        let ann = try server.connect()
        #expect(ann.readLine() == "welcome, you are one of 1")
        let bob = try server.connect()
        #expect(bob.readLine() == "welcome, you are one of 2")
        ann.write("hi\r\n")
        #expect(bob.readLine() == "127.0.0.1:\(ann.port): hi")
        bob.write("ho\r\n")
        // Had her own line come back, it would have come first.
        #expect(ann.readLine() == "127.0.0.1:\(bob.port): ho")
        server.stop(ann, bob)
    }

    @Test func `HTTPHello answers each request with thirteen bytes`() throws {
        let server = try Server("HTTPHello")
        let client = try server.connect()
        client.write("GET / HTTP/1.1\r\nHost: a\r\n\r\n")
        client.write("GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
        let answers = client.readToEnd()
        #expect(answers.hasPrefix("HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\n"))
        #expect(answers.contains("\r\n\r\nHello, World!HTTP/1.1 200 OK\r\n"))
        #expect(answers.contains("\r\nContent-Length: 13\r\nDate: "))
        #expect(answers.hasSuffix("\r\n\r\nHello, World!"))
        server.stop(client)
    }

    @Test func `HTTPFiles sends the files of a folder, and says so`() throws {
        let folder = try #require(temporaryFolder())
        defer {
            unlink(folder + "/a.txt")
            rmdir(folder)
        }
        let file = try #require(fopen(folder + "/a.txt", "w"))
        fputs("hello", file)
        fclose(file)
        let server = try Server("HTTPFiles", [folder])
        let client = try server.connect()
        client.write("GET /a.txt HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
        let answer = client.readToEnd()
        #expect(answer.hasPrefix("HTTP/1.1 200 OK\r\n") && answer.hasSuffix("\r\n\r\nhello"))
        #expect(server.program.readLine() == "GET /a.txt 200 5")
        server.stop(client)
    }

    @Test func `HTTPFetch says of each URL what became of it`() throws {
        let server = try Server("HTTPHello")
        let url = "http://127.0.0.1:\(server.port)"
        let nobody = try Socket.bound()
        let away = "http://127.0.0.1:\(nobody.port)/"
        let program = try Program("HTTPFetch", ["\(url)/a", "\(url)/b", away, "nonsense"])
        let lines = program.readOutput().split(separator: "\n").map(String.init)
        #expect(lines.count == 4 && lines.contains("\(url)/a: 200 OK, 13 bytes"), "\(lines)")
        #expect(lines.contains("\(url)/b: 200 OK, 13 bytes"))
        #expect(lines.contains { $0.hasPrefix(away) && $0.contains("connection refused") })
        #expect(lines.contains { $0.hasPrefix("nonsense: \"nonsense\" is no URL") })
        #expect(program.wait() == 0)
        server.stop()
    }

    @Test func `HTTPReverseProxy answers for another server`() throws {
        let origin = try Server("HTTPHello")
        let server = try Server("HTTPReverseProxy", ["http://127.0.0.1:\(origin.port)"])
        let client = try server.connect()
        client.write("GET /health HTTP/1.1\r\nHost: a\r\n\r\n")
        client.write("GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
        let answers = client.readToEnd()
        #expect(answers.contains("\r\n\r\nwell\nHTTP/1.1 200 OK\r\n"))
        #expect(answers.contains("\r\nVia: 1.1 torsion\r\n"))
        #expect(answers.hasSuffix("\r\n\r\nHello, World!"))
        server.stop(client)
        origin.stop()
    }

    @Test func `HTTPRouter chooses by method and path`() throws {
        let server = try Server("HTTPRouter")
        func ask(_ line: String, _ body: String = "") throws -> String {
            let client = try server.connect()
            client.write("\(line) HTTP/1.1\r\nHost: a\r\nConnection: close\r\n")
            client.write("Content-Length: \(body.utf8.count)\r\n\r\n\(body)")
            defer { client.close() }
            return client.readToEnd()
        }
        #expect(try ask("GET /notes/a").hasPrefix("HTTP/1.1 404 "))
        #expect(try ask("PUT /notes/a", "milk").hasPrefix("HTTP/1.1 204 "))
        #expect(try ask("PUT /notes/b", "eggs").hasPrefix("HTTP/1.1 204 "))
        #expect(try ask("GET /notes/a").hasSuffix("\r\n\r\nmilk"))
        #expect(try ask("GET /notes").hasSuffix("\r\n\r\na\nb\n"))
        #expect(try ask("GET /notes/a/b").hasPrefix("HTTP/1.1 404 "))
        let refused = try ask("DELETE /notes/a")
        #expect(refused.hasPrefix("HTTP/1.1 405 ") && refused.contains("\r\nAllow: GET, PUT\r\n"))
        server.stop()
    }

    @Test func `HTTPUpload writes a body to a file`() throws {
        let folder = try #require(temporaryFolder())
        defer {
            unlink(folder + "/u")
            rmdir(folder)
        }
        let server = try Server("HTTPUpload", [folder + "/u"])
        let client = try server.connect()
        let body = String(repeating: "x", count: 300_000)
        client.write("PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: 300000\r\n")
        client.write("Expect: 100-continue\r\nConnection: close\r\n\r\n")
        #expect(client.readLine() == "HTTP/1.1 100 Continue")
        #expect(client.readLine() == "")
        client.write(body)
        let answer = client.readToEnd()
        #expect(answer.hasPrefix("HTTP/1.1 201 Created\r\n") && answer.hasSuffix("300000 bytes\n"))
        var status = stat()
        #expect(stat(folder + "/u", &status) == 0 && status.st_size == 300_000)
        server.stop(client)
    }

    @Test func `HTTPRequest prints the answer`() throws {
        let listener = try Socket.bound()
        try listener.listen()
        let program = try Program("HTTPRequest", ["tcp:127.0.0.1:\(listener.port)"])
        let peer = try listener.accept()
        #expect(peer.readLine() == "GET / HTTP/1.0")
        #expect(peer.readLine() == "Host: 127.0.0.1:\(listener.port)")
        #expect(peer.readLine() == "")
        peer.write("HTTP/1.0 200 OK\r\n\r\nhello\n")
        peer.close()
        #expect(program.readOutput() == "HTTP/1.0 200 OK\r\n\r\nhello\n\n")
        #expect(program.wait() == 0)
    }

    @Test func `HTTPRequest says why there is no answer`() throws {
        let nobody = try Socket.bound()
        let program = try Program("HTTPRequest", ["tcp:127.0.0.1:\(nobody.port)"])
        let why = "cannot connect to 127.0.0.1:\(nobody.port): connection refused (ECONNREFUSED)"
        #expect(program.readOutput() == "no answer: \(why)\n")
        #expect(program.wait() == 0)
    }

    @Test func `Proxy carries both ways, and passes the ends on`() throws {
        let echo = try Server("Echo")
        let proxy = try Server("Proxy", ["tcp:127.0.0.1:\(echo.port)"])
        let client = try proxy.connect()
        let text = (0..<2_000).map { "line \($0)\n" }.joined()
        client.write(text)
        client.endOutput()
        #expect(client.readToEnd() == text)
        proxy.stop()
        echo.stop()
    }

    @Test func `Proxy says that the server cannot be reached`() throws {
        let nobody = try Socket.bound()
        let proxy = try Server("Proxy", ["tcp:127.0.0.1:\(nobody.port)"])
        let client = try proxy.connect()
        #expect(client.readToEnd() == "")
        #expect(proxy.program.readLine().contains("cannot connect to 127.0.0.1:\(nobody.port)"))
        proxy.stop()
    }

    @Test func `Ticker ticks on, one after the other`() throws {
        let server = try Server("Ticker")
        let client = try server.connect()
        let first = client.readLine()
        let number = try #require(Int(first.dropFirst("tick ".count)), "\(first)")
        #expect(client.readLine() == "tick \(number + 1)")
        #expect(client.readLine() == "tick \(number + 2)")
        server.stop(client)
    }

    @Test func `RetryingClient tries again until somebody listens`() throws {
        let listener = try Socket.bound()
        let program = try Program("RetryingClient", ["tcp:127.0.0.1:\(listener.port)"])
        let line =
            "cannot connect to 127.0.0.1:\(listener.port): connection refused (ECONNREFUSED);"
            + " trying again"
        #expect(program.readLine() == line)
        #expect(program.readLine() == line)
        try listener.listen()
        let peer = try listener.accept()
        #expect(peer.readLine() == "hello")
        peer.write("welcome\r\n")
        peer.endOutput()
        #expect(program.readOutput().hasSuffix("answer: welcome\r\n"))
        #expect(program.wait() == 0)
    }

    @Test func `FourThreads serves one port from four reactors`() throws {
        let server = try Server("FourThreads")
        // Each of the other three says the same.
        for _ in 0..<3 { #expect(server.program.readLine() == server.line) }
        for number in 0..<8 {
            let client = try server.connect()
            client.write("\(number)\n")
            let answer = client.readLine()
            #expect(answer.hasPrefix("\(number) from reactor "), "\(answer)")
            #expect((1...4).contains(Int(answer.suffix(1)) ?? 0), "\(answer)")
        }
        server.stop()
    }

    @Test(arguments: ["libuv", "epoll"])
    func `AnyBackend runs over the backend that the environment names`(name: String) throws {
        let server = try Server("AnyBackend", environment: ["TORSION_BACKEND=\(name)"])
        #expect(server.line.hasSuffix(", backend \(name)"))
        let client = try server.connect()
        client.write("carried\n")
        #expect(client.readLine() == "carried over \(name)")
        server.stop(client)
    }

    @Test func `GracefulEnd answers what it has begun, takes no one new, and ends`() throws {
        let server = try Server("GracefulEnd")
        let clients = try (0..<20).map { _ in try server.connect() }
        for (number, client) in clients.enumerated() {
            client.write("job \(number)\n")
            #expect(client.readLine() == "working on job \(number)")
        }
        // No sleep: one more job is begun right before the signal.
        clients[0].write("last\n")
        var line = "", linesRead = 0
        while line != "working on last", linesRead < 3 {
            line = clients[0].readLine()
            linesRead += 1
        }
        #expect(line == "working on last")
        server.program.signal(SIGTERM)
        for (number, client) in clients.enumerated().dropFirst() {
            #expect(client.readToEnd() == "done with job \(number)\r\n")
            client.close()
        }
        #expect(clients[0].readToEnd().hasSuffix("done with last\r\n"))
        clients[0].close()
        #expect(server.program.readLine() == "every client was answered")
        #expect(server.program.wait() == 0)
        #expect(throws: CallFailure.self) { try server.connect() }
    }

    @Test func `FromThreads adds up what four tasks hand in`() throws {
        let server = try Server("FromThreads")
        let client = try server.connect()
        #expect(client.readLine() == "total 8002000")
        server.stop(client)
    }
}
