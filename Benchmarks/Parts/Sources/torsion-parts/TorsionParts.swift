// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

import Torsion

// One part of the engine, many times: `torsion-parts PART COUNT [SIZE]` prints the nanoseconds of
// one time. The harness starts it, counts its allocations and compares it with others.

@main
struct TorsionParts {
    static func main() throws {
        let arguments = CommandLine.arguments
        guard arguments.count >= 3, let count = Int(arguments[2]) else {
            fatalError(
                "usage: torsion-parts"
                    + " chain|chain-waiting|timers|flood|await-ready|await-reactor COUNT [SIZE]")
        }
        let size = arguments.count > 3 ? Int(arguments[3]) ?? 0 : 0
        try Reactor.run(signals: .ignore) { reactor in
            switch arguments[1] {
            case "chain":
                print(time(count) { chain(on: reactor) })
            case "chain-waiting":
                print(time(count) { waitingChain(on: reactor) })
            case "timers":
                var timers = Timers(pending: size, on: reactor)
                print(time(count) { timers.scheduleAndCancel(on: reactor) })
            case "flood":
                return try flood(reactor, count: count)
            case "await-ready":
                return awaitReady(on: reactor, count: count)
            case "await-reactor":
                return awaitReactor(on: reactor, count: count)
            default:
                fatalError("torsion-parts: unknown part \(arguments[1])")
            }
            reactor.stop(within: .zero)
        }
    }
}

/// Nanoseconds for one of `count` runs, after a tenth as many that are not counted.
func time(_ count: Int, _ body: () -> Void) -> Double {
    for _ in 0..<count / 10 { body() }
    let start = ContinuousClock.now
    for _ in 0..<count { body() }
    return nanoseconds(ContinuousClock.now - start) / Double(count)
}

func nanoseconds(_ duration: Duration) -> Double { duration / .nanoseconds(1) }
