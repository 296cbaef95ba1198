// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

import Testing

/// What `torsion probe` finds and says.
@Suite struct ProbeTests {
    private func probe(
        _ text: String, resolver: String = "own"
    ) throws -> (lines: [String], errors: String, status: Int32) {
        let program = try Program(
            "torsion", ["probe", text], environment: ["TORSION_RESOLVER=\(resolver)"])
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

    @Test func `a server that is not there is one sentence and status 1`() throws {
        let socket = try Socket.boundToUDP()
        let port = socket.port
        socket.close()
        let (lines, errors, status) = try probe(
            #"dns:example.org:type=MX:server=127.0.0.1\:\#(port)"#)
        #expect(lines.isEmpty)
        #expect(errors.hasPrefix("example.org. MX: no server could be asked: "), "\(errors)")
        #expect(status == 1)
    }

    @Test(arguments: [
        "tcp:example.org:80", "dns:", "dns:a:type=", "dns:a:type=NOTHING", "dns:a:server=b", "x:y",
    ])
    func `what is no probe is refused with what is allowed`(text: String) throws {
        let (_, errors, status) = try probe(text)
        #expect(status == 64)
        #expect(errors.contains("allowed") || errors.contains("as in"), "\(errors)")
    }
}
