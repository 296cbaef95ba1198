// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors
import Torsion
import TorsionProcesses

/// Prints each line of a program behind its name.
final class Log: LineProtocol {
    let lines = LineDecoder()
    private let name: String

    init(_ name: String) { self.name = name }

    func lineReceived(_ line: RawSpan, from transport: any StreamTransport) {
        print("\(name): \(String(decoding: line))")
    }
}

/// Keeps a program running: one that ends is started again, after a pause that doubles each time.
final class Supervisor: ProcessProtocol {
    private static let pauses = (first: Duration.milliseconds(100), longest: Duration.seconds(30))
    /// A program that has run for so long was fine.
    private static let trial = Duration.seconds(10)

    private let name: String
    private let command: Command
    private var pause = pauses.first
    private var startTime = MonotonicInstant(nanoseconds: 0)

    init(_ name: String, _ command: Command) {
        self.name = name
        self.command = command.standardOutput(.stream).standardError(.stream)
    }

    func start(on reactor: Reactor) {
        do {
            startTime = reactor.now
            try command.start(on: reactor, self)
        } catch {
            print("\(name): \(error)")
            startAgain(on: reactor)
        }
    }

    private func startAgain(on reactor: Reactor) {
        guard reactor.isRunning else { return }
        if startTime.duration(to: reactor.now) >= Self.trial { pause = Self.pauses.first }
        print("\(name): starts again in \(pause)")
        reactor.callLater(pause) { [self] in start(on: reactor) }
        pause = min(pause * 2, Self.pauses.longest)
    }

    func makeProtocol(
        for descriptor: Int32, of child: ChildProcess
    ) -> (any StreamProtocol)? { Log(name) }

    func processStarted(_ child: ChildProcess) { print("\(name): runs as \(child.processID)") }

    func processEnded(_ status: ProcessStatus, _ child: ChildProcess) {
        print("\(name): \(status)")
        startAgain(on: child.reactor)
    }
}

// Each argument is the command line of a program. At the end each is asked by SIGTERM, and killed when
// it has not ended after five seconds.
Reactor.main { reactor in
    for (index, line) in CommandLine.arguments.dropFirst().enumerated() {
        Supervisor("\(index + 1)", Command("sh", "-c", "exec \(line)")).start(on: reactor)
    }
}
