// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

@testable import Supervisor
import Testing
import Torsion
import TorsionProcesses
import TorsionTesting

/// The example in a simulation, where closures play its children and hours pass at once.
@Suite struct SimulatedSupervisorTests {
    private final class Mouth: StreamProtocol {
        func dataReceived(_ bytes: RawSpan, from transport: any StreamTransport) {}
    }

    /// When each child was started, and how it may end.
    private final class Children {
        var starts: [MonotonicInstant] = []
        var running: PlayedChild?
        var signals: [Signal] = []

        /// Between two starts, in milliseconds.
        var pauses: [Int] {
            zip(starts, starts.dropFirst()).map { Int($0.duration(to: $1) / .milliseconds(1)) }
        }
    }

    @Test func `pauses double up to a limit, and a program that was fine begins anew`() throws {
        try simulate("supervisor", seeds: 1...5) { world in
            let host = world.host("machine"), children = Children()
            try host.run { reactor in
                reactor.playChildren { child in
                    children.starts.append(child.reactor.now)
                    child.connect(1) { Mouth() }?.write("number \(children.starts.count)\n")
                    // The eleventh runs for a minute, all others end at once.
                    let life = children.starts.count == 11 ? Duration.seconds(60) : .zero
                    child.reactor.callLater(life) { child.exit(.exited(1)) }
                }
                Supervisor("job", Command("job")).start(on: reactor)
            }
            try world.run { children.starts.count == 14 }
            let expected = [
                100, 200, 400, 800, 1_600, 3_200, 6_400, 12_800, 25_600, 30_000, 60_100, 200, 400,
            ]
            // A machine that stalls is late, never early.
            for (pause, wanted) in zip(children.pauses, expected) {
                #expect(wanted...wanted + 10_000 ~= pause, "\(children.pauses)")
            }
        }
    }

    @Test func `at the end each child is asked, and one that is deaf is killed`() throws {
        for isDeaf in [false, true] {
            try simulate("supervisor's end", seeds: 1...3) { world in
                let host = world.host("machine"), children = Children()
                var isOver = false
                try host.run { reactor in
                    reactor.playChildren { child in
                        children.starts.append(child.reactor.now)
                        children.running = child
                        child.whenSignalled = { signal in
                            children.signals.append(signal)
                            if !isDeaf { child.exit(.exited(0)) }
                        }
                    }
                    Supervisor("job", Command("job")).start(on: reactor)
                    reactor.callLater(.seconds(5)) { reactor.stop(within: .seconds(60)) }
                    reactor.addTrigger(.after, .shutdown) { isOver = true }
                }
                try world.run { isOver }
                #expect(children.starts.count == 1, "it was started again")
                #expect(children.signals == [.terminate])
                children.running = nil
            }
        }
    }
}
