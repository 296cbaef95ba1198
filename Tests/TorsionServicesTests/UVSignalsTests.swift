// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

import Glibc
import Testing
import TorsionCore
import TorsionServices

// Signals belong to the process: what changes its handlers runs in a process of its own.

@Suite struct UVSignalsTests {
    @Test func `a signal is delivered on the reactor, on every backend`() async {
        await #expect(processExitsWith: .success) {
            for host in hosts {
                var seen: [Signal] = []
                try run(host) { reactor in
                    _ = try reactor.signals.catchSignal(.terminate) { signal in
                        seen.append(signal)
                        reactor.stop()
                    }
                    send(SIGTERM)
                }
                precondition(seen == [.terminate])
            }
        }
    }

    @Test func `a cancelled registration hears nothing more`() async {
        await #expect(processExitsWith: .success) {
            for host in hosts {
                var first = 0
                var second = 0
                try run(host) { reactor in
                    let one = try reactor.signals.catchSignal(.hangUp) { _ in first += 1 }
                    _ = try reactor.signals.catchSignal(.hangUp) { _ in
                        second += 1
                        one.cancel()
                        one.cancel()
                        if second == 2 { reactor.stop() } else { send(SIGHUP) }
                    }
                    send(SIGHUP)
                }
                precondition(second == 2 && first <= 1)
            }
        }
    }

    // R10
    @Test func `the handler that was there before comes back`() async {
        await #expect(processExitsWith: .success) {
            for host in hosts {
                signal(SIGINT, SIG_IGN)
                // Whoever asks for a signal gets it, whatever the parent wanted.
                try run(host) { reactor in
                    let signals = try reactor.signals
                    precondition(signals.isIgnored(.interrupt))
                    _ = try signals.catchSignal(.interrupt) { _ in reactor.stop() }
                    precondition(!signals.isIgnored(.interrupt))
                    send(SIGINT)
                }
                precondition(isIgnored(SIGINT), "SIGINT is not what it was")
            }
        }
    }

    // R10
    @Test func `what the parent had ignored does not stop a reactor`() async {
        await #expect(processExitsWith: .success) {
            for host in hosts {
                signal(SIGINT, SIG_IGN)
                try run(host, signals: .stop) { _ in
                    precondition(isIgnored(SIGINT) && !isIgnored(SIGTERM))
                    send(SIGINT)
                    send(SIGTERM)
                }
            }
        }
    }

    // R10
    @Test func `SIGTERM stops a reactor that asked for it`() async {
        await #expect(processExitsWith: .success) {
            for host in hosts {
                try run(host, signals: .stop) { _ in send(SIGTERM) }
            }
        }
    }

    // R10
    @Test func `a second SIGTERM while it stops ends the process`() async {
        await #expect(processExitsWith: .signal(SIGTERM)) {
            try run("libuv", signals: .stop(within: .seconds(60))) { reactor in
                // Never fires, so that the stop lasts.
                reactor.addTrigger(.before, .shutdown) { Deferred<Void>(on: reactor) }
                try keepSending(SIGTERM, on: reactor)
            }
        }
    }

    @Test func `each of two reactors is told`() async {
        await #expect(processExitsWith: .success) {
            // What one still sends when the other has stopped must not end the process.
            Glibc.signal(SIGHUP, SIG_IGN)
            let threads = try hosts.map { host in
                try NativeThread.start {
                    do {
                        try run(host) { reactor in
                            _ = try reactor.signals.catchSignal(.hangUp) { _ in reactor.stop() }
                            try keepSending(SIGHUP, on: reactor)
                        }
                    } catch { preconditionFailure("\(error)") }
                }
            }
            for thread in threads { thread.join() }
        }
    }

    @Test(arguments: [9, 19, 11, 0, -1, 1_000])
    func `a signal that cannot be caught is refused`(number: Int32) throws {
        try run("libuv") { reactor in
            let error = #expect(throws: IOError.self) {
                try reactor.signals.catchSignal(Signal(number: number)) { _ in }
            }
            #expect(error?.operation == .signal)
            #expect(error?.code == .invalidArgument)
            reactor.stop()
        }
    }
}

/// Sends this process a signal.
///
/// Not `raise`: the threads of the pool block signals.
private func send(_ number: Int32) { kill(getpid(), number) }

/// Sends a signal until the process or the reactor ends.
///
/// More than once, since the kernel makes one of those that wait together, and a reactor that
/// starts late has heard of none.
private func keepSending(_ number: Int32, on reactor: Reactor) throws {
    send(number)
    reactor.callLater(.milliseconds(5)) { try keepSending(number, on: reactor) }
}

/// `SIG_IGN` is a number dressed as a function; functions cannot be compared.
private func isIgnored(_ number: Int32) -> Bool {
    var action = sigaction()
    sigaction(number, nil, &action)
    return unsafeBitCast(action.__sigaction_handler.sa_handler, to: UInt.self)
        == unsafeBitCast(SIG_IGN, to: UInt.self)
}
