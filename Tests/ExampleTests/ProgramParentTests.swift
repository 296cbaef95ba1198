// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

import Glibc
import TestPrograms
import Testing

/// Programs as users write them, under parents that leave them less than a shell does.
@Suite(.serialized) struct ProgramParentTests {
    private static let programs = ["TopLevel", "AtMain"]
    private static let backends = ["libuv", "epoll"]
    /// What the test process has open for others is none of the program's.
    private static let closing = "for n in {3..99}; do eval \"exec $n>&-\"; done; "

    /// Starts one by a shell, which prepares what a parent would.
    private func start(
        _ name: String, _ backend: String, _ preparation: String, _ arguments: String
    ) throws -> Program {
        let words = "\(preparation)exec \(Program.folder)/\(name) \(arguments)"
        return try Program(
            path: "bash", ["-c", words], environment: ["TORSION_BACKEND=\(backend)"])
    }

    /// Starts one that was given its listening socket, so that its clients need not wait for a line.
    private func serve(
        _ name: String, _ backend: String, preparation: String = "", _ redirections: String,
        _ body: (Program, () throws -> Socket) throws -> Void
    ) throws {
        let listener = try Socket.bound()
        try listener.listen()
        let number = listener.duplicateForChildren()
        defer { close(number) }
        let program = try start(name, backend, preparation, "fd:\(number) \(redirections)")
        try body(program) { try Socket(port: listener.port) }
        program.signal(SIGTERM)
        #expect(program.wait() == 0)
    }

    private func expectAnswer(_ connect: () throws -> Socket) throws {
        let client = try connect()
        for line in ["one", "two", "three"] {
            client.write("\(line)\n")
            #expect(client.readLine() == line)
        }
    }

    @Test(arguments: programs, backends)
    func `without standard streams it serves`(name: String, backend: String) throws {
        for closing in ["0<&-", "1>&-", "2>&-", "0<&- 1>&- 2>&-"] {
            try serve(name, backend, closing) { program, connect in
                try expectAnswer(connect)
                for (number, one) in ["0<&-", "1>&-", "2>&-"].enumerated()
                where closing.contains(one) {
                    #expect(program.target(ofDescriptor: Int32(number)) == "/dev/null")
                }
            }
        }
    }

    @Test(arguments: programs, backends)
    func `an interrupt that the parent ignored stays ignored`(name: String, backend: String) throws
    {
        try serve(name, backend, preparation: "trap '' INT; ", "") { program, connect in
            #expect(program.readLine().hasPrefix("listening"))
            for _ in 0..<2 { program.signal(SIGINT) }
            try expectAnswer(connect)
        }
    }

    @Test(arguments: programs, backends)
    func `standard input that never ends holds up nobody`(name: String, backend: String) throws {
        for input in ["", "< <(exec yes)"] {
            try serve(name, backend, "stdio: \(input)") { _, connect in
                try expectAnswer(connect)
            }
        }
    }

    @Test(arguments: programs, backends)
    func `it serves on when who read its output has gone`(name: String, backend: String) throws {
        try serve(name, backend, "> >(exec head -1)") { program, connect in
            // To the end, so that what is printed next has no reader.
            #expect(program.readOutput().hasPrefix("listening on "))
            try expectAnswer(connect)
        }
    }

    @Test(arguments: programs, backends)
    func `a full standard error holds up nobody`(name: String, backend: String) throws {
        let full = try FullPipe()
        defer { full.close() }
        try serve(name, backend, "2>&\(full.input)") { _, connect in
            for _ in 0..<20 {
                let client = try connect()
                client.write("error\n")
                #expect(client.readToEnd() == "")
            }
            try expectAnswer(connect)
        }
    }

    @Test(arguments: programs, backends)
    func `with too few descriptors it says so in one line, with status 1`(
        name: String, backend: String
    ) throws {
        var startedCount = 0
        for limit in 4...24 {
            let program = try start(
                name, backend, "\(Self.closing)ulimit -n \(limit); ",
                "tcp:0:interface=127.0.0.1")
            if program.readLine().hasPrefix("listening on") {
                startedCount += 1
                program.signal(SIGTERM)
                #expect(program.wait() == 0, "with \(limit)")
                continue
            }
            let errors = program.readErrors()
            let status = program.wait()
            // 127: the dynamic linker could not open a library.
            if status != 127 {
                #expect(status == 1, "with \(limit): \(errors)")
                #expect(
                    errors.hasSuffix("too many open files (EMFILE)\n"), "with \(limit): \(errors)")
                #expect(errors.filter { $0 == "\n" }.count == 1, "with \(limit): \(errors)")
            }
            #expect(startedCount == 0, "\(limit) are too few, and fewer were not")
        }
        #expect(startedCount >= 3)
    }
}
