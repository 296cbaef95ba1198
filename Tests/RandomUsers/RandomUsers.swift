// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

import Glibc
import Scenarios
import TestedBackends
import Torsion

/// Runs random users over real backends, and says which seed fails.
///
///     RandomUsers [SEEDS [BACKEND…]]
///
/// With the variable `SEED` set, only that seed runs; with `TELL_SEEDS`, each is told before it does.
@main
struct RandomUsers {
    static func main() {
        let arguments = Array(CommandLine.arguments.dropFirst())
        let count = arguments.first.flatMap { UInt64($0) } ?? 500
        let names = arguments.dropFirst()
        var hasFailed = false
        for backend in BackendChoice.tested
        where names.isEmpty || names.contains(backend.name) {
            if let reason = backend.unavailableReason() {
                print("\(backend.name): left out: \(reason)")
                continue
            }
            do {
                var coverage = RandomUserCoverage()
                for seed in seeds(count) {
                    progress("\(backend.name): seed \(seed)")
                    coverage.add(try RandomUser.run(seed: seed, over: backend))
                }
                progress("")
                print(
                    "\(backend.name): \(count) seeds, \(coverage.total) steps,"
                        + " \(coverage.missing.count) pairs of callback and verb not seen")
                for pair in coverage.missing { print("    \(pair)") }
            } catch {
                progress("")
                print(error)
                hasFailed = true
            }
            fflush(nil)
        }
        if hasFailed { exit(1) }
    }

    private static func seeds(_ count: UInt64) -> ClosedRange<UInt64> {
        let one = getenv("SEED").flatMap { UInt64(String(cString: $0)) }
        return one.map { $0...$0 } ?? 1...max(1, count)
    }

    /// One line, redrawn on a terminal, so that one that hangs is known.
    private static func progress(_ text: String) {
        guard isatty(2) == 1 || getenv("TELL_SEEDS") != nil else { return }
        let line = "\r\u{1b}[K\(text)"
        _ = write(2, line, line.utf8.count)
    }
}
