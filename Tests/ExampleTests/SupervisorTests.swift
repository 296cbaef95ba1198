// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

import Glibc
import TestPrograms
import Testing

/// The supervisor runs as a program, over programs.
@Suite struct SupervisorTests {
    @Test func `Supervisor restarts what ends, logs lines, and ends all at SIGTERM`() throws {
        let lasting = "sh -c 'trap \"echo tidied; exit 0\" TERM; while :; do sleep 0.01; done'"
        let program = try Program("Supervisor", ["echo short; exit 3", lasting, "no-such-program"])
        var lines: [String] = []
        func read(until condition: () -> Bool) {
            while !condition() {
                let line = program.readLine()
                guard !line.isEmpty else { return }
                lines.append(line)
            }
        }
        read { lines.count { $0 == "1: short" } == 2 && lines.contains { $0.hasPrefix("3: ") } }
        #expect(lines.contains { $0.hasPrefix("1: runs as ") })
        #expect(lines.contains("1: starts again in 0.1 seconds"))
        #expect(lines.contains("3: exited with 127"))
        let child = try #require(lines.first { $0.hasPrefix("2: runs as ") })
        let number = try #require(pid_t(child.dropFirst("2: runs as ".count)))
        #expect(kill(number, 0) == 0)
        program.signal(SIGTERM)
        read { lines.contains("2: exited with 0") }
        #expect(lines.contains("2: tidied"))
        #expect(program.wait() == 0)
        #expect(kill(number, 0) != 0, "a child was left behind")
    }
}
