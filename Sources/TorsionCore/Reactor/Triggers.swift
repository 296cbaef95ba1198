// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

/// When in a start or a stop a trigger runs.
///
/// - SeeAlso: Twisted `IReactorCore.addSystemEventTrigger`.
public enum TriggerPhase: Hashable, Sendable, CaseIterable {
    /// Ahead of it: what these triggers return is waited for.
    case before
    /// With it. At a stop, connections are asked to end after these triggers were called.
    case during
    /// When it is done: at a stop, after the last connection was lost.
    case after
}

/// What a trigger belongs to.
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
    private struct Entry {
        let trigger: Trigger
        let event: ReactorEvent
        let phase: TriggerPhase
        let body: () throws -> Deferred<Void>?
    }

    private var entries: [Entry] = []
    private var lastNumber = 0
    /// Of the start or stop whose Deferreds are counted.
    ///
    /// What was left behind by an earlier one does not count any more.
    private(set) var round = 0

    mutating func beginRound() { round += 1 }

    mutating func add(
        _ phase: TriggerPhase, _ event: ReactorEvent,
        _ body: @escaping () throws -> Deferred<Void>?
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

    mutating func removeAll() -> [() throws -> Deferred<Void>?] {
        defer { entries = [] }
        return entries.map(\.body)
    }

    func bodies(_ phase: TriggerPhase, _ event: ReactorEvent) -> [() throws -> Deferred<Void>?] {
        entries.filter { $0.phase == phase && $0.event == event }.map(\.body)
    }
}

extension Reactor {
    /// Calls `body` when the reactor starts or stops, in the given phase.
    ///
    /// A trigger is for one run: the end of that drops it, fired or not. One that throws is
    /// reported, and does not keep the others from running.
    ///
    /// - Returns: Its name, to remove it.
    /// - SeeAlso: Twisted `IReactorCore.addSystemEventTrigger`.
    @discardableResult
    public func addTrigger(
        _ phase: TriggerPhase, _ event: ReactorEvent, _ body: @escaping () throws -> Void
    ) -> Trigger {
        checkThread()
        return triggers.add(phase, event) {
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
    /// The next phase begins when all of this one have fired; at a stop no later than the stop's
    /// patience allows. A trigger is for one run: the end of that drops it, fired or not. One that
    /// throws or whose Deferred fails is reported, and does not keep the others from running.
    ///
    /// - Returns: Its name, to remove it.
    @discardableResult
    public func addTrigger<Waited: DeferredResult>(
        _ phase: TriggerPhase, _ event: ReactorEvent, _ body: @escaping () throws -> Waited
    ) -> Trigger {
        checkThread()
        return triggers.add(phase, event) { try body().deferred.addCallback { _ in } }
    }

    /// Drops a trigger.
    ///
    /// - Returns: Whether it was there.
    @discardableResult
    public func removeTrigger(_ trigger: Trigger) -> Bool {
        checkThread()
        return triggers.remove(trigger)
    }

    /// Calls the triggers of one phase, and counts those that are waited for.
    func fireTriggers(_ phase: TriggerPhase, _ event: ReactorEvent) {
        let round = triggers.round
        for body in triggers.bodies(phase, event) {
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

    private func reportTrigger(_ error: any Error, _ phase: TriggerPhase, _ event: ReactorEvent) {
        report(error, in: "a trigger \(phase) \(event)")
    }
}
