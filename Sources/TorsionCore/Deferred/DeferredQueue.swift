// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

/// A bounded queue whose takers wait when it is empty.
///
///     let jobs = DeferredQueue<Job>(limit: 1_000, on: reactor)
///     jobs.get().addCallback { job in perform(job) }
///     try jobs.put(job)
///
/// Elements leave in the order in which they came, to takers in the order in which they asked.
/// Cancelling the Deferred of one who waits takes it out of the line. Call every member on the
/// reactor's thread.
///
/// - SeeAlso: Twisted `DeferredQueue`.
public final class DeferredQueue<Element> {
    /// The reactor that the queue belongs to.
    public let reactor: Reactor
    /// How many elements it holds at most.
    public let limit: Int
    /// How many may wait for an element at most.
    public let waitingLimit: Int

    private var elements = WaitingLine<Element>()
    private var line = WaitingLine<Deferred<Element>>()

    /// Makes an empty queue.
    ///
    /// - Parameters:
    ///   - limit: How many elements are kept, 0 or more.
    ///   - waitingLimit: How many may wait for an element, 0 or more.
    ///   - reactor: Where the queue is used.
    /// - Precondition: Neither limit is negative. With a `limit` of 0 an element is taken only
    ///   while a `get` waits for it.
    public init(limit: Int, waitingLimit: Int = .max, on reactor: Reactor) {
        reactor.checkThread()
        require(limit >= 0, "DeferredQueue: limit \(limit); need at least 0")
        require(waitingLimit >= 0, "DeferredQueue: waitingLimit \(waitingLimit); need at least 0")
        self.reactor = reactor
        self.limit = limit
        self.waitingLimit = waitingLimit
    }

    /// How many elements are in the queue.
    public var count: Int { elements.count }

    /// How many wait for an element.
    public var waitingCount: Int { line.count }

    /// Gives an element to the first who waits, whose callbacks run before this returns, or keeps
    /// it.
    ///
    /// - Parameter element: Kept until it is taken.
    /// - Throws: ``QueueOverflow`` when the queue is full; the element is then the caller's.
    public func put(_ element: Element) throws(QueueOverflow) {
        reactor.checkThread()
        if let first = line.popFirst() { return first.succeed(element) }
        guard elements.count < limit else { throw QueueOverflow(limit: limit) }
        elements.append(element)
    }

    /// Takes the oldest element, or a number in the line.
    ///
    /// - Parameters:
    ///   - file: The place that traps and reports name.
    ///   - place: The place that traps and reports name.
    /// - Returns: A Deferred for the element: at once if there is one. It has failed with
    ///   ``QueueUnderflow`` if too many wait already.
    public func get(file: StaticString = #fileID, line place: UInt = #line) -> Deferred<Element> {
        reactor.checkThread()
        if let element = elements.popFirst() {
            return .succeeded(element, on: reactor, file: file, line: place)
        }
        guard line.count < waitingLimit else {
            let error = QueueUnderflow(waitingLimit: waitingLimit)
            return .failed(error, on: reactor, file: file, line: place)
        }
        let number = line.nextNumber
        // Weak: the line owns the Deferred.
        let waiter = Deferred<Element>(on: reactor, file: file, line: place) { [weak self] _ in
            _ = self?.line.remove(number)
        }
        line.append(waiter)
        return waiter
    }

    /// Asserts what must hold between events: there are no waiters while an element is there, and
    /// each waiter can still be given one.
    ///
    /// For simulations, after each step. O(*n*) in what is queued and how many wait.
    public func checkInvariants() {
        reactor.checkThread()
        elements.checkInvariants()
        line.checkInvariants()
        require(
            elements.isEmpty || line.isEmpty,
            "DeferredQueue: \(line.count) wait, and \(elements.count) elements are there")
        require(
            elements.count <= limit && line.count <= waitingLimit,
            "DeferredQueue: \(elements.count) elements and \(line.count) who wait are too many")
        require(
            line.elements.allSatisfy(\.isPending),
            "DeferredQueue: one who was told already stands in the line")
    }
}

/// The elements as a sequence for async code, which never ends by itself.
///
///     for try await job in jobs { try await perform(job) }
///
/// Several tasks may take from one queue; each element goes to one of them. A task that is cancelled
/// while it waits leaves the line and takes no element.
extension DeferredQueue: AsyncSequence {
    /// Takes elements from now on.
    public func makeAsyncIterator() -> Iterator { Iterator(queue: self) }

    /// Takes an element when it is asked.
    public struct Iterator: AsyncIteratorProtocol {
        fileprivate let queue: DeferredQueue

        /// Waits for the next element.
        ///
        /// - Returns: The element, never nil.
        /// - Throws: ``QueueUnderflow`` if too many wait already, `CancellationError`,
        ///   ``ReactorStopped``.
        public mutating func next() async throws -> Element? { try await queue.get().value }

        /// Waits for the next element.
        ///
        /// - Parameter actor: The caller's; leave it out.
        /// - Returns: The element, never nil.
        /// - Throws: As ``next()`` does.
        public mutating func next(
            isolation actor: isolated (any Actor)?
        ) async throws(any Error) -> Element? { try await queue.get().value }
    }
}

/// An element was put into a ``DeferredQueue`` that is full.
public struct QueueOverflow: Error, Hashable, Sendable, CustomStringConvertible {
    /// How many elements the queue holds.
    public let limit: Int

    /// Makes the error of a full queue.
    ///
    /// - Parameter limit: How many elements the queue keeps.
    public init(limit: Int) { self.limit = limit }

    /// One line.
    public var description: String { "the queue is full: it holds \(limit)" }
}

/// Too many wait already for an element of a ``DeferredQueue``.
public struct QueueUnderflow: Error, Hashable, Sendable, CustomStringConvertible {
    /// How many may wait.
    public let waitingLimit: Int

    /// Makes the error of a line that is full.
    ///
    /// - Parameter waitingLimit: How many may wait.
    public init(waitingLimit: Int) { self.waitingLimit = waitingLimit }

    /// One line.
    public var description: String { "the queue is empty, and \(waitingLimit) wait already" }
}
