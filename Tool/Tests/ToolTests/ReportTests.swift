// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

import Glibc
import Testing

/// What programs read of a command whose standard output has the other side's bytes.
@Suite(.serialized) struct ReportTests {
    /// A line of JSON, whose members are looked at as they are written.
    private struct Report {
        let line: String

        /// The value of a member of the object itself: text in its quotes, a number, an object.
        subscript(_ name: String) -> String? {
            var depth = 0
            var isQuoted = false
            var isEscaped = false
            var member = ""
            for character in line {
                if !isQuoted, depth == 1, character == "," || character == "}" {
                    if member.hasPrefix("\"\(name)\":") {
                        return String(member.dropFirst(name.count + 3))
                    }
                    member = ""
                    if character == "," { continue }
                }
                if isQuoted {
                    if character == "\"", !isEscaped { isQuoted = false }
                    isEscaped = character == "\\" && !isEscaped
                } else {
                    if character == "\"" { isQuoted = true }
                    if "{[".contains(character) { depth += 1 }
                    if "]}".contains(character) { depth -= 1 }
                    if depth == 1, character == "{", member.isEmpty { continue }
                }
                member.append(character)
            }
            return nil
        }
    }

    /// The last line on standard error, which is the only one.
    private func report(_ program: Program) throws -> Report {
        let errors = program.readErrors()
        try #require(errors.hasSuffix("}\n") && !errors.dropLast().contains("\n"), "\(errors)")
        return Report(line: String(errors.dropLast()))
    }

    @Test(arguments: ["libuv", "epoll", "io_uring"])
    func `a conversation ends with how much has passed, and why it ended`(backend: String) throws {
        let server = try Program(
            "torsion", ["listen", "127.0.0.1:0", "--json", "--backend", backend])
        let line = server.readErrorLine()
        let place = try #require(line.split(separator: "\"").first { $0.hasPrefix("127.0.0.1:") })
        #expect(
            line == #"{"backend":"\#(backend)","listening":"\#(place)","threads":1}"#, "\(line)")
        let client = try Program(
            "torsion", ["connect", String(place), "--json", "--backend", backend])
        client.write("hello\n")
        #expect(server.readLine() == "hello")
        server.write("goodbye\n")
        client.endInput()
        server.endInput()
        #expect(client.readOutput() == "goodbye\n")
        let (near, far) = (try report(client), try report(server))
        #expect(client.wait() == 0 && server.wait() == 0)
        #expect(near["end"] == #""complete""# && far["end"] == #""complete""#)
        #expect(
            near["sent"] == "6" && near["received"] == "8" && far["sent"] == "8"
                && far["received"] == "6")
        #expect(
            near["peer"] == "\"\(place)\"" && near["local"] == far["peer"]
                && far["local"] == near["peer"])
        #expect(near["connectMilliseconds"] != nil && far["connectMilliseconds"] == nil)
        #expect(near["seconds"] != nil && far["seconds"] != nil && near["error"] == nil)
        #expect(near["exitStatus"] == "0")
    }

    @Test func `a conversation that fails has its error in the report`() throws {
        let nobody = try Socket.bound()
        let refused = try Program("torsion", ["connect", ":\(nobody.port)", "--json"])
        let first = try report(refused)
        #expect(first["end"] == #""failed""# && first["peer"] == nil && first["exitStatus"] == "69")
        #expect(first["error"]?.hasPrefix("\"cannot connect to localhost:") == true)
        #expect(refused.wait() == 69)
        try nobody.listen()
        let reset = try Program("torsion", ["connect", ":\(nobody.port)", "--json"])
        let peer = try nobody.accept()
        peer.write("a")
        #expect(reset.readByte() == "a")
        peer.reset()
        let second = try report(reset)
        #expect(
            second["end"] == #""failed""# && second["received"] == "1"
                && second["exitStatus"] == "1")
        #expect(second["error"]?.contains("reset by peer") == true && reset.wait() == 1)
        let idle = try Program(
            "torsion", ["connect", ":\(nobody.port)", "--json", "--idle", "0.1"])
        let third = try report(idle)
        #expect(third["end"] == #""idle""# && third["exitStatus"] == "1" && idle.wait() == 1)
        #expect(third["error"] == "\":\(nobody.port): nothing passed for 0.1 seconds\"")
        _ = try nobody.accept()
        let ended = try Program("torsion", ["connect", ":\(nobody.port)", "--json"])
        let last = try nobody.accept()
        last.write("a")
        #expect(ended.readByte() == "a")
        ended.signal(SIGTERM)
        let fourth = try report(ended)
        #expect(fourth["end"] == #""signal""# && fourth["error"] == nil && ended.wait() == 0)
        let wrong = try Program("torsion", ["connect", "tcp:1", "--json"])
        let fifth = try report(wrong)
        #expect(fifth["error"]?.contains("needs a port") == true && wrong.wait() == 64)
    }

    private func get(
        _ answer: String, _ options: [String] = []
    ) throws -> (output: String, report: Report, status: Int32) {
        let listener = try Socket.bound()
        try listener.listen()
        let command = try Program(
            "torsion", ["get", "http://127.0.0.1:\(listener.port)/a", "--json"] + options)
        let peer = try listener.accept()
        while !peer.readLine().isEmpty {}
        peer.write(answer)
        peer.close()
        let output = command.readOutput()
        return (output, try report(command), command.wait())
    }

    @Test func `an answer is told with its status, its fields and its bytes`() throws {
        let head = "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nSet-Cookie: a\r\nset-cookie: b\r\n\r\n"
        let (output, whole, status) = try get(head + "hello")
        #expect(output == "hello" && status == 0 && whole["exitStatus"] == "0")
        #expect(
            whole["status"] == "200" && whole["version"] == #""1.1""# && whole["received"] == "5")
        #expect(whole["fields"] == #"{"content-length":["5"],"set-cookie":["a","b"]}"#)
        #expect(whole["headMilliseconds"] != nil && whole["error"] == nil)
        let missing = try get("HTTP/1.0 404 Not Found\r\nContent-Length: 2\r\n\r\nno")
        #expect(
            missing.output == "" && missing.status == 22 && missing.report["exitStatus"] == "22")
        #expect(missing.report["status"] == "404" && missing.report["version"] == #""1.0""#)
        #expect(
            missing.report["error"]?.contains("404") == true && missing.report["received"] == nil)
        let part = try get("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhel")
        #expect(part.output == "hel" && part.status == 1 && part.report["received"] == nil)
        #expect(part.report["status"] == "200" && part.report["error"] != nil)
        let none = try get("220 hello\r\n")
        #expect(none.status == 2 && none.report["status"] == nil && none.report["fields"] == nil)
        #expect(none.report["exitStatus"] == "2" && none.report["error"] != nil)
        let nobody = try Socket.bound()
        let refused = try Program(
            "torsion", ["get", "http://127.0.0.1:\(nobody.port)/", "--json"])
        let last = try report(refused)
        #expect(last["exitStatus"] == "69" && refused.wait() == 69 && last["status"] == nil)
        #expect(last["url"] == "\"http://127.0.0.1:\(nobody.port)/\"")
    }

    @Test func `a message is an object, and the close is told`() throws {
        let echo = try Program("torsion", ["echo", "--framing", "http", "--port", "0"])
        let words = echo.readLine().split(separator: " ")
        let url = "ws://\(words[2])/"
        let client = try Program("torsion", ["ws", url, "--json"])
        client.write("grüße \"\u{1b}\n\n")
        #expect(client.readLine() == #"{"text":"grüße \"\u001b"}"#)
        #expect(client.readLine() == #"{"text":""}"#)
        client.endInput()
        #expect(client.readOutput() == "")
        let closed = try report(client)
        #expect(closed["closeCode"] == "1000" && closed["sent"] == "2" && closed["received"] == "2")
        #expect(closed["seconds"] != nil && closed["exitStatus"] == "0" && client.wait() == 0)
        echo.signal(SIGTERM)
        #expect(echo.wait() == 0)
        let refused = try Program("torsion", ["ws", url, "--json"])
        let report = try report(refused)
        #expect(report["closeCode"] == nil && report["exitStatus"] == "69" && refused.wait() == 69)
        #expect(report["error"]?.contains("connection refused") == true)
    }

    @Test func `bytes that are no text are base64`() throws {
        let listener = try Socket.bound()
        try listener.listen()
        let client = try Program(
            "torsion", ["ws", "ws://127.0.0.1:\(listener.port)/", "--json"])
        let peer = try listener.accept()
        var key = ""
        while true {
            let line = peer.readLine()
            if line.isEmpty { break }
            if line.lowercased().hasPrefix("sec-websocket-key: ") {
                key = String(line.dropFirst(19))
            }
        }
        let accept = try Program(
            path: "sh",
            [
                "-c",
                "printf %s '\(key)258EAFA5-E914-47DA-95CA-C5AB0DC85B11' | openssl sha1 -binary"
                    + " | base64",
            ])
        let answer = accept.readLine()
        _ = accept.wait()
        peer.write(
            "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                + "Sec-WebSocket-Accept: \(answer)\r\n\r\n")
        // Three bytes, as a server sends them.
        peer.write(bytes: [0x82, 3, 0x61, 0x62, 0x63])
        #expect(client.readLine() == #"{"binary":"YWJj"}"#)
        peer.close()
        client.endInput()
        let report = try report(client)
        #expect(report["received"] == "1" && report["exitStatus"] == "1" && client.wait() == 1)
    }
}
