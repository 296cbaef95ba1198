// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

public import TorsionCore

/// Reactors on several threads that serve the same ports.
///
///     ReactorGroup.main(count: 4) { reactor in
///         try ServerEndpoint(parsing: "tcp:8007").listen(on: reactor) { Echo() }
///     }
///
/// Among the sockets of a TCP or UDP port the kernel spreads clients by their addresses. A UNIX
/// address has one socket, which all reactors accept from; its file goes with the reactor that opened
/// it.
///
/// The reactors share only the ports: the closure runs once on each thread and makes its own
/// objects.
public enum ReactorGroup {
    /// Runs `body` once on each of `count` threads, on a reactor each, until all have stopped.
    ///
    /// The calling thread is the first of them. Signals are caught there, and stop all.
    ///
    /// - Parameters:
    ///   - count: How many reactors, each on a thread.
    ///   - backend: The event backend, made once for each reactor.
    ///   - services: Makes what resolves names and catches signals; called once on each reactor's
    ///     thread.
    ///   - signals: Which signals stop all of them.
    ///   - body: Called once on each thread, on its reactor.
    /// - Throws: What a `body` throws, the first of them, or `IOError`.
    /// - Precondition: `count` is at least 1.
    @available(*, noasync, message: "use withReactor in async code")
    public static func run(
        count: Int, backend: BackendChoice,
        services: @escaping @Sendable (Reactor) throws(IOError) -> any ReactorServices,
        signals: SignalPolicy = .stop,
        _ body: @escaping @Sendable (Reactor) throws -> Void
    ) throws {
        require(count >= 1, "ReactorGroup: need at least one thread, got \(count)")
        let group = Members(ports: GroupPorts(reactorCount: count))
        let makeReactor: @Sendable () -> Reactor = {
            let reactor = Reactor(backend: backend, services: services)
            // Alone, a reactor keeps the kernel's word that the port is nobody else's.
            if count > 1 { reactor.group = group.ports }
            return reactor
        }
        var threads: [NativeThread] = []
        group.run(makeReactor(), number: 0, signals: signals, body) {
            // Signals are caught here: none that comes when a member serves already ends the process.
            for number in 1..<count {
                threads.append(
                    try NativeThread.startWithTaskLocals {
                        group.run(makeReactor(), number: number, signals: .ignore, body)
                    })
            }
        }
        for thread in threads { thread.join() }
        if let failure = group.failure { throw failure }
    }

    /// What the threads of a group share.
    private final class Members: Sendable {
        let ports: GroupPorts
        /// Passed when each knows the others' doors.
        private let entrance: Barrier

        private struct State {
            var handles: [Remote<Reactor>] = []
            var failure: (any Error)?
            var isStopping = false
        }

        private let state = Lock(State())

        init(ports: GroupPorts) {
            self.ports = ports
            entrance = Barrier(count: ports.reactorCount)
        }

        var failure: (any Error)? { state.withLock { $0.failure } }

        /// Runs one member.
        ///
        /// Whichever reason it ends for, a stop of one stops all.
        ///
        /// `startOthers`: Called by the first, when signals are caught.
        func run(
            _ reactor: Reactor, number: Int, signals: SignalPolicy,
            _ body: (Reactor) throws -> Void, startOthers: () throws -> Void = {}
        ) {
            // Often holds the reactor, which is not used after this.
            defer { reactor.forgetHooks() }
            let handle = reactor.remote
            ports.add(handle, number: number)
            if ports.reactorCount > 1 { reactor.groupIndex = number }
            let isLate = state.withLock { state in
                state.handles.append(handle)
                return state.isStopping
            }
            reactor.addTrigger(.before, .shutdown) { [unowned reactor] in
                self.stopOthers(
                    lameDuck: reactor.stopLameDuck, within: reactor.stopGracePeriod)
            }
            do {
                try reactor.run(signals: signals) { reactor in
                    try startOthers()
                    let isWhole = entrance.pass()
                    if isLate || !isWhole { reactor.stop(within: .zero) } else { try body(reactor) }
                    // Behind the triggers of the body.
                    reactor.addTrigger(.after, .startup) { [unowned reactor] in
                        if reactor.isReady { self.ports.memberIsReady() }
                    }
                }
            } catch {
                fail(error)
            }
        }

        func fail(_ error: any Error) {
            state.withLock { state in
                if state.failure == nil { state.failure = error }
            }
            entrance.abandon()
            stopOthers(within: .zero)
        }

        private func stopOthers(lameDuck: Duration = .zero, within gracePeriod: Duration) {
            let handles = state.withLock { state in
                guard !state.isStopping else { return [Remote<Reactor>]() }
                state.isStopping = true
                return state.handles
            }
            for handle in handles {
                handle.callFromThread { $0.stop(lameDuck: lameDuck, within: gracePeriod) }
            }
        }
    }
}
