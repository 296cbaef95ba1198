// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

/// Lets so many do something at a time; the others wait in line.
///
///     let downloads = DeferredSemaphore(count: 4, on: reactor)
///     for url in urls { downloads.run { fetch(url) } }
///
/// First come, first served: a place that is given back goes to the first in the line, before any
/// that asks in that moment. Cancelling the Deferred of one who waits takes it out of the line.
/// Call every member on the reactor's thread.
///
/// - SeeAlso: Twisted `DeferredSemaphore`.
public final class DeferredSemaphore {
    /// The reactor that the semaphore belongs to.
    public let reactor: Reactor
    /// How many may have a place at a time.
    public let limit: Int
    /// How many places are free; 0 while a user waits.
    public private(set) var freeCount: Int

    private var line = WaitingLine<Deferred<Void>>()
    /// Places that were given back and are still to be handed over.
    private var owedCount = 0
    private var isHandingOver = false

    /// Makes a semaphore whose places are all free.
    ///
    /// - Parameters:
    ///   - count: How many may hold a place at once.
    ///   - reactor: Where those who take one belong.
    /// - Precondition: `count` is at least 1.
    public init(count: Int, on reactor: Reactor) {
        reactor.checkThread()
        require(count >= 1, "DeferredSemaphore: count \(count); need at least 1")
        self.reactor = reactor
        limit = count
        freeCount = count
    }

    /// How many wait for a place.
    public var waitingCount: Int { line.count }

    /// Takes a place, or a number in the line.
    ///
    /// Each that was had is given back by one ``release()``. If the Deferred is cancelled, the
    /// place was not taken.
    ///
    /// - Parameters:
    ///   - file: The place that traps and reports name.
    ///   - place: The place that traps and reports name.
    /// - Returns: A Deferred that fires when there is a place: at once if one is free.
    public func acquire(file: StaticString = #fileID, line place: UInt = #line) -> Deferred<Void> {
        reactor.checkThread()
        if freeCount > 0 {
            freeCount -= 1
            return .succeeded((), on: reactor, file: file, line: place)
        }
        let number = line.nextNumber
        // Weak: the line owns the Deferred.
        let waiter = Deferred<Void>(on: reactor, file: file, line: place) { [weak self] _ in
            _ = self?.line.remove(number)
        }
        line.append(waiter)
        return waiter
    }

    /// Gives a place back; the callbacks of the first in the line run before this returns.
    ///
    /// Inside such a callback they run after it, so that a long line does not grow the stack.
    /// Giving back more than was taken is the caller's mistake and traps.
    public func release() {
        reactor.checkThread()
        require(
            freeCount + owedCount < limit,
            "DeferredSemaphore: release without a place that was acquired")
        owedCount += 1
        guard !isHandingOver else { return }
        isHandingOver = true
        defer { isHandingOver = false }
        while owedCount > 0 {
            owedCount -= 1
            if let first = line.popFirst() { first.succeed() } else { freeCount += 1 }
        }
    }

    /// Asserts what must hold between events: there are no waiters while a place is free, and each
    /// waiter can still be given one.
    ///
    /// For simulations, after each step. O(*n*) in how many wait.
    public func checkInvariants() {
        reactor.checkThread()
        line.checkInvariants()
        require(
            (0...limit).contains(freeCount), "DeferredSemaphore: \(freeCount) of \(limit) are free")
        require(
            freeCount == 0 || line.isEmpty,
            "DeferredSemaphore: \(line.count) wait, and \(freeCount) places are free")
        require(
            owedCount == 0 && !isHandingOver,
            "DeferredSemaphore: \(owedCount) places were given back to nobody")
        require(
            line.elements.allSatisfy(\.isPending),
            "DeferredSemaphore: one who was told already stands in the line")
    }

    /// Runs `body` with a place, which is given back when its Deferred has fired.
    ///
    /// Cancelling the Deferred returned leaves the line, or cancels what `body` returned.
    ///
    /// - Parameters:
    ///   - file: The place that traps and reports name.
    ///   - line: The place that traps and reports name.
    ///   - body: Called once, when a place is held.
    /// - Returns: A Deferred for the result of `body`.
    @discardableResult
    public func run<Waited: DeferredResult>(
        file: StaticString = #fileID, line: UInt = #line, _ body: @escaping () throws -> Waited
    ) -> Deferred<Waited.Value> {
        // Unowned: the line, which this owns, owns the closure.
        acquire(file: file, line: line).addCallback(file: file, line: line) { [unowned self] in
            reactor.maybeDeferred(file: file, line: line, body)
                .addBoth(file: file, line: line) { [self] result throws -> Waited.Value in
                    release()
                    return try result.get()
                }
        }
    }
}
