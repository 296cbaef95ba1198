// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

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
