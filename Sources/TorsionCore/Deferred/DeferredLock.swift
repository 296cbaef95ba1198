// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

/// Lets one at a time do something; the others wait in line.
///
///     let lock = DeferredLock(on: reactor)
///     lock.run { database.begin().addCallback { $0.commit() } }
///
/// A ``DeferredSemaphore`` with one place; what is said there holds here.
///
/// - SeeAlso: Twisted `DeferredLock`.
public final class DeferredLock {
    private let semaphore: DeferredSemaphore

    /// Makes a free lock.
    ///
    /// - Parameter reactor: Where those who take it belong.
    public init(on reactor: Reactor) { semaphore = DeferredSemaphore(count: 1, on: reactor) }

    /// The reactor that the lock belongs to.
    public var reactor: Reactor { semaphore.reactor }

    /// Whether it is held.
    public var isLocked: Bool { semaphore.freeCount == 0 }

    /// How many wait for it.
    public var waitingCount: Int { semaphore.waitingCount }

    /// Takes the lock, or a number in the line.
    ///
    /// - Parameters:
    ///   - file: The place that traps and reports name.
    ///   - line: The place that traps and reports name.
    /// - Returns: A Deferred that fires when the lock was had: at once if it is free.
    public func acquire(file: StaticString = #fileID, line: UInt = #line) -> Deferred<Void> {
        semaphore.acquire(file: file, line: line)
    }

    /// Gives the lock to the first in the line, whose callbacks run before this returns.
    ///
    /// Releasing a free lock is the caller's mistake and traps.
    public func release() {
        require(isLocked, "DeferredLock: release of a lock that nobody holds")
        semaphore.release()
    }

    /// Asserts what must hold between events: a free lock has no waiters.
    ///
    /// For simulations, after each step. O(*n*) in how many wait.
    public func checkInvariants() { semaphore.checkInvariants() }

    /// Runs `body` with the lock, which is released when its Deferred has fired.
    ///
    /// - Parameters:
    ///   - file: The place that traps and reports name.
    ///   - line: The place that traps and reports name.
    ///   - body: Called once, when the lock is held.
    /// - Returns: A Deferred for the result of `body`.
    @discardableResult
    public func run<Waited: DeferredResult>(
        file: StaticString = #fileID, line: UInt = #line, _ body: @escaping () throws -> Waited
    ) -> Deferred<Waited.Value> {
        semaphore.run(file: file, line: line, body)
    }
}
