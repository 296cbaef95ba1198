// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

/// Something that happens once, for which any number may wait.
///
///     let ready = DeferredEvent(on: reactor)
///     ready.wait().addCallback { serve() }     // or `try await ready.wait().value`
///     ready.set()                              // everybody goes on
///
/// A `Deferred` has one consumer; this has as many as ask. Cancelling the Deferred of one who waits
/// takes it out of the line, and leaves the others alone. Call every member on the reactor's thread.
///
/// - SeeAlso: Python's `asyncio.Event`, trio's `Event`.
public final class DeferredEvent {
    /// The reactor that the event belongs to.
    public let reactor: Reactor

    /// Whether it has happened: then ``wait(file:line:)`` fires at once.
    public private(set) var isSet = false

    private var line = WaitingLine<Deferred<Void>>()

    /// Makes an event that has not happened.
    ///
    /// - Parameter reactor: The reactor that it belongs to.
    public init(on reactor: Reactor) {
        reactor.checkThread()
        self.reactor = reactor
    }

    /// How many wait for it.
    public var waitingCount: Int { line.count }

    /// Waits until it happens.
    ///
    /// - Parameters:
    ///   - file: The place that traps and reports name.
    ///   - place: The place that traps and reports name.
    /// - Returns: A Deferred that fires when the event is set: at once if it is.
    public func wait(file: StaticString = #fileID, line place: UInt = #line) -> Deferred<Void> {
        reactor.checkThread()
        guard !isSet else { return .succeeded((), on: reactor, file: file, line: place) }
        let number = line.nextNumber
        // Weak: the line owns the Deferred.
        let waiter = Deferred<Void>(on: reactor, file: file, line: place) { [weak self] _ in
            _ = self?.line.remove(number)
        }
        line.append(waiter)
        return waiter
    }

    /// Lets everybody go on who waits, in the order in which they came.
    ///
    /// Their callbacks run before this returns. Harmless when repeated. A new wait inside such a
    /// callback ends at once, unless the callback has called ``clear()``.
    ///
    /// - Complexity: O(*n*) in how many wait.
    public func set() {
        reactor.checkThread()
        guard !isSet else { return }
        isSet = true
        // Those who come while the callbacks run, behind a `clear()`, are not of this time.
        let end = line.nextNumber
        while let first = line.popFirst(before: end) { first.succeed() }
    }

    /// Makes it one that has not happened: a wait from now on ends with the next ``set()``.
    public func clear() {
        reactor.checkThread()
        isSet = false
    }

    /// Asserts what must hold between calls: an event that has happened has no waiters.
    ///
    /// For simulations, after each step. O(*n*) in how many wait.
    public func checkInvariants() {
        reactor.checkThread()
        line.checkInvariants()
        require(!isSet || line.isEmpty, "DeferredEvent: \(line.count) wait for what has happened")
        require(
            line.elements.allSatisfy(\.isPending),
            "DeferredEvent: one who was told already stands in the line")
    }
}
