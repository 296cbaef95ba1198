// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

import Glibc
import Testing

/// What `torsion probe` finds and says.
@Suite struct ProbeTests {
    private func probe(
        _ text: String, resolver: String = "own"
    ) throws -> (lines: [String], errors: String, status: Int32) {
        let program = try Program(
            "torsion", ["probe"] + text.split(separator: " ").map(String.init),
            environment: ["TORSION_RESOLVER=\(resolver)"])
        program.endInput()
        let lines = program.readOutput().split(separator: "\n").map(String.init)
        let errors = program.readErrors()
        return (lines, errors, program.wait())
    }

    @Test(arguments: ["own", "system"])
    func `it prints a host's addresses, and where they come from`(resolver: String) throws {
        let (lines, errors, status) = try probe("dns:localhost", resolver: resolver)
        #expect(lines.dropLast().contains("127.0.0.1"), "\(lines)")
        #expect(lines.last?.hasPrefix("; from this machine, without a query") == true, "\(lines)")
        #expect(errors.isEmpty)
        #expect(status == 0)
    }

    @Test func `a server that is not there is one sentence and status 69`() throws {
        let socket = try Socket.boundToUDP()
        let port = socket.port
        socket.close()
        let (lines, errors, status) = try probe(
            #"dns:example.org:type=MX:server=127.0.0.1\:\#(port)"#)
        #expect(lines.isEmpty)
        #expect(errors.hasPrefix("example.org. MX: no server could be asked: "), "\(errors)")
        #expect(status == 69)
    }

    @Test func `a service is connected to, and each step has its time`() throws {
        let listener = try Socket.bound()
        try listener.listen()
        let program = try Program(
            "torsion", ["probe", "localhost:\(listener.port)", "--first-byte", "--json"])
        let client = try listener.accept()
        client.write("220 hello")
        let report = program.readOutput()
        #expect(program.readErrors() == "" && program.wait() == 0)
        for part in [
            #""attempts":1"#, #""byteCount":9"#, #""peer":"127.0.0.1:\#(listener.port)""#,
            #""name":"localhost""#, #""up":true"#,
        ] { #expect(report.contains(part), "\(report)") }
        // A server that goes without a word is up, and not what was asked for.
        let silent = try Program("torsion", ["probe", ":\(listener.port)", "--first-byte"])
        try listener.accept().close()
        #expect(silent.readErrors().hasPrefix("the server sent nothing: "))
        #expect(silent.wait() == 1)
    }

    @Test(arguments: ["libuv", "epoll", "io_uring"])
    func `TLS has a time apart from the connection's`(backend: String) throws {
        let listener = try Socket.bound()
        try listener.listen()
        let place = "tls:localhost:\(listener.port)"
        let late = try Program(
            "torsion", ["probe", place, "--limit", "0.3", "--backend", backend])
        // Connected, and the handshake is not answered.
        let client = try listener.accept()
        #expect(client.readBytes(1) == [0x16])
        let errors = late.readErrors()
        #expect(errors.hasPrefix("\(place): it is connected, and agreeing on TLS: "), "\(errors)")
        #expect(late.wait() == 69)
        client.close()
        let echo = try Program(
            "torsion", ["echo", "--listen", "tls:0:interface=127.0.0.1", "--self-signed"])
        var certificate = ""
        repeat {
            certificate += echo.readErrorLine() + "\n"
        } while !certificate.hasSuffix("END CERTIFICATE-----\n")
        let folder = TemporaryFolder()
        let roots = folder.file("roots.pem", certificate)
        let words = echo.readLine().split(separator: " ")
        let port = try #require(words[2].split(separator: ":").last)
        let probe = try Program(
            "torsion",
            ["probe", "tls:localhost:\(port):roots=\(roots)", "--json", "--backend", backend])
        let report = probe.readOutput()
        #expect(probe.wait() == 0)
        let connection = try milliseconds("connection", in: report)
        let handshake = try milliseconds("security", in: report)
        // A signature on each side takes longer than to connect by the loopback interface.
        #expect(connection > 0 && handshake > 0.1, "\(report)")
        let text = try Program("torsion", ["probe", "tls:localhost:\(port):roots=\(roots)"])
        let lines = text.readOutput().split(separator: "\n")
        #expect(lines.count == 4 && lines[2].hasPrefix("agreed on TLSv1.3 "), "\(lines)")
        #expect(lines[2].contains(" ms, certificate CN=self-signed for trying out until "))
        #expect(text.wait() == 0)
        echo.signal(SIGTERM)
        #expect(echo.wait() == 0)
    }

    /// The time of a step, in a report of one line.
    private func milliseconds(_ step: String, in report: String) throws -> Double {
        let parts = report.split(separator: "\"\(step)\":{")
        let object = try #require(parts.last).prefix { $0 != "}" }
        let value = try #require(object.split(separator: "\"milliseconds\":").last)
        return try #require(Double(value.prefix { $0 != "," }))
    }

    @Test func `until-up waits for a service, says why not yet, and has a limit`() throws {
        let listener = try Socket.bound()
        let program = try Program("torsion", ["probe", ":\(listener.port)", "--until-up"])
        let reason = program.readErrorLine()
        #expect(
            reason.hasPrefix("not yet: cannot connect to localhost:")
                && reason.hasSuffix("connection refused (ECONNREFUSED)"), "\(reason)")
        try listener.listen()
        #expect(program.readLine().hasPrefix("resolved localhost in "))
        #expect(program.readLine().hasPrefix("connected to 127.0.0.1:\(listener.port) in "))
        let last = program.readLine()
        #expect(last.hasPrefix("up after ") && last.contains(" s, at attempt "), "\(last)")
        #expect(program.wait() == 0)
        let nobody = try Socket.bound()
        let vain = try Program(
            "torsion",
            ["probe", ":\(nobody.port)", "--until-up", "--limit", "0.2", "--json"])
        #expect(vain.readErrors().hasPrefix(#"{"error":"cannot connect to localhost:"#))
        #expect(vain.readOutput() == "" && vain.wait() == 69)
    }

    @Test func `an answer of the wrong protocol is status 2`() throws {
        let listener = try Socket.bound()
        try listener.listen()
        let program = try Program("torsion", ["probe", "tls:localhost:\(listener.port)"])
        let client = try listener.accept()
        client.write("220 this is no TLS\r\n")
        let errors = program.readErrors()
        #expect(program.wait() == 2, "\(errors)")
    }

    @Test(arguments: [
        "dns:a:type=MX --until-up", "dns:", "dns:a:type=", "dns:a:type=NOTHING", "dns:a:server=b",
        "x:y",
    ])
    func `what is no probe is refused with what is allowed`(text: String) throws {
        let (_, errors, status) = try probe(text)
        #expect(status == 64)
        #expect(
            ["allowed", "as in", "are for services"].contains { errors.contains($0) }, "\(errors)")
    }
}
