// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

import Glibc

/// A program that measures parts.
struct PartProgram {
    var name: String
    var command: [String]
    /// Whether it is an interpreter's: then it is given fewer times to do.
    var isSlow = false

    static func all(programs: String, peers: [String]) -> [PartProgram] {
        var all = [
            PartProgram(
                name: "torsion", command: ["Benchmarks/Parts/.build/release/torsion-parts"]),
            PartProgram(name: "libuv-c", command: [programs + "/parts-c"]),
        ]
        if peers.contains("nio") {
            all.append(
                PartProgram(
                    name: "nio", command: ["Benchmarks/PeerNIO/.build/release/nio-parts"]))
        }
        for peer in ["twisted", "asyncio"] {
            let command = ["python3", "Benchmarks/PeerPython/parts.py", peer]
            all.append(PartProgram(name: peer, command: command, isSlow: true))
        }
        return all
    }

    /// Returns the nanoseconds of one time, of `count`.
    func measure(
        _ part: Part, count: Int, environment: [String: String] = [:]
    ) throws -> Double {
        let size = part.size.map { ["\($0)"] } ?? []
        let arguments = command + [part.program, "\(count)"] + size
        let text = try ChildProcess(arguments, environment: environment).readToEnd()
        guard let line = text.split(separator: "\n").last, let value = Double(line) else {
            throw BenchError("\(name) printed no figure")
        }
        return value
    }

    /// Returns the system calls of one time: what twice as many take more.
    func systemCalls(_ part: Part, count: Int) throws -> Double {
        let path = ".build/bench/strace.\(getpid())"
        var traced = self
        traced.command = ["strace", "-f", "-c", "-o", path] + command
        func total(_ count: Int) throws -> Double {
            defer { unlink(path) }
            _ = try traced.measure(part, count: count)
            return Double(try SystemCallCounter.parse(readText(path)).values.reduce(0, +))
        }
        return max(0, try total(2 * count) - total(count)) / (1.1 * Double(count))
    }

    /// Returns the allocations of one time: what twice as many take more.
    func allocations(_ part: Part, count: Int, library: String) throws -> Double {
        let path = ".build/bench/malloc.\(getpid())"
        func total(_ count: Int) throws -> Double {
            unlink(path)
            defer { unlink(path) }
            let variables = ["LD_PRELOAD": library, "TORSION_BENCH_MALLOC_COUNTS": path]
            _ = try measure(part, count: count, environment: variables)
            let file = open(path, O_RDONLY | O_CLOEXEC)
            defer { close(file) }
            var allocations: UInt64 = 0
            guard file >= 0, read(file, &allocations, 8) == 8 else {
                throw BenchError("no allocation counts in \(path)")
            }
            return Double(allocations)
        }
        // A tenth as many again are done before the clock starts.
        return (try total(2 * count) - total(count)) / (1.1 * Double(count))
    }
}
