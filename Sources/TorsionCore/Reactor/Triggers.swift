// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

/// When in a start or a stop a trigger runs.
///
/// - SeeAlso: Twisted `IReactorCore.addSystemEventTrigger`.
public enum TriggerPhase: Hashable, Sendable, CaseIterable {
    /// Ahead of it: what these triggers return is waited for.
    case before
    /// With it. At a stop, ports close and clients' connections are asked to end after these triggers
    /// were called.
    case during
    /// At a stop, when the server's own clients are done, and before the connections that the
    /// program made are asked to end: for whatever the clients needed until then. A start does not
    /// have this phase.
    case drained
    /// When it is done: at a stop, after the last connection was lost.
    case after
}

/// The start or the stop, as the event of a trigger.
public enum ReactorEvent: Hashable, Sendable {
    /// The reactor begins to run.
    case startup
    /// The reactor stops.
    case shutdown
}

/// Names a trigger, to remove it.
public struct Trigger: Hashable, Sendable {
    fileprivate let number: Int
}

/// The triggers of a reactor, in the order in which they were added.
struct TriggerTable {
    typealias Body = () throws -> Deferred<Void>?

    private struct Entry {
        let trigger: Trigger
        let event: ReactorEvent
        let phase: TriggerPhase
        let body: Body
    }

    private var entries: [Entry] = []
    /// Of the trigger that was added last.
    private(set) var lastNumber = 0
    /// Of the start or stop whose Deferreds are counted.
    ///
    /// What was left behind by an earlier one does not count any more.
    private(set) var round = 0

    mutating func beginRound() { round += 1 }

    mutating func add(
        _ phase: TriggerPhase, _ event: ReactorEvent, _ body: @escaping Body
    ) -> Trigger {
        lastNumber += 1
        let trigger = Trigger(number: lastNumber)
        entries.append(Entry(trigger: trigger, event: event, phase: phase, body: body))
        return trigger
    }

    mutating func remove(_ trigger: Trigger) -> Bool {
        let count = entries.count
        entries.removeAll { $0.trigger == trigger }
        return entries.count < count
    }

    /// Takes the first of a phase out of the table, if it was not added after the trigger of this
    /// number.
    ///
    /// One by one, so that a trigger which another one removes does not run.
    mutating func takeNext(
        _ phase: TriggerPhase, _ event: ReactorEvent, upTo number: Int
    ) -> Body? {
        let index = entries.firstIndex { $0.phase == phase && $0.event == event }
        guard let index, entries[index].trigger.number <= number else { return nil }
        return entries.remove(at: index).body
    }

    /// Drops all.
    ///
    /// - Returns: What the caller releases, and how many were for a stop.
    mutating func removeAll() -> (bodies: [Body], ofStop: Int) {
        defer { entries = [] }
        return (entries.map(\.body), entries.count { $0.event == .shutdown })
    }
}

extension Reactor {
    /// Calls `body` when the reactor starts or stops, in the given phase.
    ///
    /// If that phase has begun already, `body` runs in the next turn, and the phase ends behind it.
    /// A trigger belongs to one run: the end of the run drops it, fired or not. If `body` throws,
    /// the error is reported to ``unhandledError``, and the other triggers run.
    ///
    /// - Parameters:
    ///   - phase: When in the start or stop it runs; ``TriggerPhase/drained`` is for a stop only.
    ///   - event: The start or the stop.
    ///   - body: Called once, on the reactor.
    /// - Returns: Its name, to remove it.
    /// - SeeAlso: Twisted `IReactorCore.addSystemEventTrigger`.
    @discardableResult
    public func addTrigger(
        _ phase: TriggerPhase, _ event: ReactorEvent, _ body: @escaping () throws -> Void
    ) -> Trigger {
        add(phase, event) {
            try body()
            return nil
        }
    }

    /// Calls `body` when the reactor starts or stops, in the given phase, and waits for the Deferred
    /// that it returns.
    ///
    ///     reactor.addTrigger(.before, .shutdown) {
    ///         log("going away")
    ///         return registry.signOff()
    ///     }
    ///
    /// The next phase begins when all of this one have fired; at a stop not later than the stop's
    /// grace period allows. If that phase has begun already, `body` runs in the next turn. A
    /// trigger belongs to one run: the end of the run drops it, fired or not. If `body` throws or
    /// its Deferred fails, the error is reported to ``unhandledError``, and the other triggers run.
    ///
    /// - Parameters:
    ///   - phase: When in the start or stop it runs; ``TriggerPhase/drained`` is for a stop only.
    ///   - event: The start or the stop.
    ///   - body: Called once, on the reactor; returns what the phase waits for.
    /// - Returns: Its name, to remove it.
    @discardableResult
    public func addTrigger<Waited: DeferredResult>(
        _ phase: TriggerPhase, _ event: ReactorEvent, _ body: @escaping () throws -> Waited
    ) -> Trigger {
        add(phase, event) { try body().deferred.addCallback { _ in } }
    }

    private func add(
        _ phase: TriggerPhase, _ event: ReactorEvent, _ body: @escaping TriggerTable.Body
    ) -> Trigger {
        checkThread()
        require(
            event == .shutdown || phase != .drained,
            "Reactor: addTrigger(.drained, .startup), but only a stop has that phase")
        if life.hasBegun(phase, event) { life.awaitsLateTriggers = true }
        return triggers.add(phase, event, body)
    }

    /// Drops a trigger, which then does not run any more, also inside its phase.
    ///
    /// - Parameter trigger: As ``addTrigger(_:_:_:)-(_,_,()->Void)`` returned it.
    /// - Returns: Whether it was there: false if it has run.
    @discardableResult
    public func removeTrigger(_ trigger: Trigger) -> Bool {
        checkThread()
        return triggers.remove(trigger)
    }

    /// Calls the triggers of one phase, and counts those that are waited for.
    ///
    /// One that is added meanwhile runs in the next turn: a trigger that adds another each time it
    /// runs must not keep the reactor.
    func fireTriggers(_ phase: TriggerPhase, _ event: ReactorEvent) {
        let (round, last) = (triggers.round, triggers.lastNumber)
        while let body = triggers.takeNext(phase, event, upTo: last) {
            performEvent {
                do {
                    guard let waited = try body() else { return }
                    life.awaitedTriggers += 1
                    _ = waited.addBoth { [self] result in
                        if triggers.round == round { life.awaitedTriggers -= 1 }
                        if case .failure(let error) = result { reportTrigger(error, phase, event) }
                    }
                } catch {
                    reportTrigger(error, phase, event)
                }
            }
        }
    }

    /// Calls the triggers that were added when their phase had begun.
    func fireLateTriggers() {
        guard life.awaitsLateTriggers else { return }
        life.awaitsLateTriggers = false
        for event in [ReactorEvent.startup, .shutdown] {
            for phase in TriggerPhase.allCases where life.hasBegun(phase, event) {
                fireTriggers(phase, event)
            }
        }
    }

    /// Drops what the run has left; what was added too late to run is reported.
    func dropTriggers() {
        // What the bodies hold is released here, outside of the table: its end may come back to us.
        let left = triggers.removeAll()
        triggers.beginRound()
        for _ in 0..<left.ofStop {
            report(ReactorStopped(), in: "a trigger that was added when the run was over")
        }
    }

    private func reportTrigger(_ error: any Error, _ phase: TriggerPhase, _ event: ReactorEvent) {
        report(error, in: "a trigger \(phase) \(event)")
    }
}
