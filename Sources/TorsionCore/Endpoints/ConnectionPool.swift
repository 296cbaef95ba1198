// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

/// Keeps connections to one place, and lends each to one user at a time.
///
///     let pool = ConnectionPool(to: endpoint, on: reactor, limit: 8) { RedisClient() }
///     pool.withConnection { redis in redis.send("GET", key) }
///         .addCallback { reply in print(reply) }
///
/// The connection that was used last is lent first; if all are busy, a new one is made, up to the
/// limit, and beyond it users wait in a queue. A free connection is closed when it was idle for too
/// long. Call every member on the reactor's thread.
///
/// - SeeAlso: ``ClientService``, which keeps one connection for everybody.
public final class ConnectionPool<Made: StreamProtocol> {
    /// One connection, with what speaks over it.
    private final class Entry {
        let made: Made
        let connection: StreamConnection
        /// Closes it when it was idle for long.
        var end: DelayedCall?

        init(_ made: Made, _ connection: StreamConnection) {
            self.made = made
            self.connection = connection
        }
    }

    /// The reactor that the connections belong to.
    public let reactor: Reactor
    /// How many connections there are at most.
    public let limit: Int

    private let idleLimit: Duration
    private let waitingLimit: Int
    private let open: (_ opened: @escaping (StreamConnection) -> Void) -> Deferred<Made>
    private let prepare: ((Made) throws -> Deferred<Void>)?
    private let check: ((Made) throws -> Deferred<Void>)?
    private let answerLimit: Duration
    /// Connects, and what `prepare` and `check` returned, while without a result: a stop cancels them.
    private var underWay: [ObjectIdentifier: AnyDeferred] = [:]
    /// Free ones; the last was used last.
    private var idle: [Entry] = []
    private var line = WaitingLine<Deferred<Entry>>()
    private var isStopped = false
    /// Once somebody has waited.
    private var trigger: Trigger?

    /// How many connections there are: free, lent, being made and being closed.
    public private(set) var connectionCount = 0

    /// How many of them are free.
    public var idleCount: Int { idle.count }

    /// How many users wait.
    public var waitingCount: Int { line.count }

    /// Makes a pool without connections.
    ///
    /// - Parameters:
    ///   - endpoint: Where to connect to.
    ///   - reactor: The reactor that the connections belong to.
    ///   - limit: How many connections there are at most, at least 1.
    ///   - idleLimit: A free connection is closed after this time.
    ///   - waitingLimit: More users who wait fail with ``PoolExhausted``.
    ///   - answerLimit: What `prepare` and `check` return fails after this time with a ``TimeoutError``,
    ///     and the connection is closed.
    ///   - makeProtocol: Makes the protocol of each connection.
    ///   - prepare: Called with each new one before it is lent, to log in for example.
    ///   - check: Called with one that was free before it is lent again; if it fails, the connection is
    ///     closed, and another is taken.
    public init(
        to endpoint: some StreamClientEndpoint, on reactor: Reactor, limit: Int = 8,
        idleLimit: Duration = .seconds(60), waitingLimit: Int = 10_000,
        answerLimit: Duration = .seconds(10),
        _ makeProtocol: @escaping () throws -> Made,
        prepare: ((Made) throws -> Deferred<Void>)? = nil,
        check: ((Made) throws -> Deferred<Void>)? = nil
    ) {
        reactor.checkThread()
        require(limit >= 1, "ConnectionPool: limit \(limit); need at least 1")
        require(idleLimit > .zero, "ConnectionPool: idleLimit \(idleLimit); need more than 0")
        require(waitingLimit >= 0, "ConnectionPool: waitingLimit \(waitingLimit); need at least 0")
        self.reactor = reactor
        self.limit = limit
        self.idleLimit = idleLimit
        self.waitingLimit = waitingLimit
        require(answerLimit > .zero, "ConnectionPool: answerLimit \(answerLimit); need more than 0")
        self.answerLimit = answerLimit
        self.prepare = prepare
        self.check = check
        open = { opened in
            Connector(on: reactor, opened: opened) { _ in try makeProtocol() }
                .start(endpoint.openStream(on: reactor))
        }
    }

    /// Lends a connection until the Deferred that `body` returns fires.
    ///
    /// If it fails, or `body` throws, the connection is closed: more of the former answer could
    /// come over it. Cancelling the Deferred leaves the line, or cancels the work.
    ///
    /// - Parameter body: Called with the connection's protocol; must not use it behind its Deferred.
    /// - Returns: What `body` makes of it; ``PoolExhausted``, or `CancellationError` if the pool is
    ///   stopped, or why the connection could not be made.
    public func withConnection<Value>(
        _ body: @escaping (Made) throws -> Deferred<Value>
    ) -> Deferred<Value> {
        reactor.checkThread()
        return take().addCallback { [self] entry in
            let work: Deferred<Value>
            do { work = try body(entry.made) } catch {
                giveBack(entry, isUsable: false)
                throw error
            }
            return work.addBoth { [self] result -> Value in
                var isUsable = true
                if case .failure = result { isUsable = false }
                giveBack(entry, isUsable: isUsable)
                return try result.get()
            }
        }
    }

    /// Closes what is free or not ready yet, and what is lent when it comes back.
    ///
    /// Users who have no connection yet, or ask later, get `CancellationError`.
    ///
    /// A stop of the reactor closes the connections without this, and then fails who waits. Harmless
    /// when repeated.
    public func stop() {
        reactor.checkThread()
        isStopped = true
        while let waiter = line.popFirst() { waiter.fail(CancellationError()) }
        for deferred in Array(underWay.values) { deferred.cancel() }
        let free = idle
        idle = []
        for entry in free { close(entry) }
    }

    // MARK: Lending

    private func take() -> Deferred<Entry> {
        if isStopped { return .failed(CancellationError(), on: reactor) }
        if let entry = idle.popLast() { return checked(entry) }
        if connectionCount < limit { return connect() }
        guard line.count < waitingLimit else {
            return .failed(PoolExhausted(limit: limit, waitingLimit: waitingLimit), on: reactor)
        }
        let place = line.nextNumber
        let waiter = Deferred<Entry>(on: reactor) { [weak self] _ in _ = self?.line.remove(place) }
        line.append(waiter)
        if trigger == nil {
            trigger = reactor.addTrigger(.after, .shutdown) { [weak self] in self?.endOfRun() }
        }
        return waiter
    }

    /// Nothing comes back any more that they could wait for.
    private func endOfRun() {
        trigger = nil
        // Whoever asks again because of it gets the same answer.
        let wasStopped = isStopped
        isStopped = true
        while let waiter = line.popFirst() { waiter.fail(CancellationError()) }
        isStopped = wasStopped
    }

    /// One that was free, if it still serves; else another.
    private func checked(_ entry: Entry) -> Deferred<Entry> {
        entry.end?.cancel()
        entry.end = nil
        guard let check else { return .succeeded(entry, on: reactor) }
        return ask(entry, by: check).addBoth { [self] result -> Deferred<Entry> in
            if case .success = result, !entry.connection.isLost {
                return .succeeded(entry, on: reactor)
            }
            close(entry)
            return take()
        }
    }

    private func connect() -> Deferred<Entry> {
        connectionCount += 1
        var connection: StreamConnection?
        let opening = open { connection = $0 }
        let key = noteUnderWay(opening)
        return opening.addBoth { [self] result -> Deferred<Entry> in
            underWay[key] = nil
            guard case .success(let made) = result, let connection else {
                connectionCount -= 1
                serveNext()
                return .failed(result.failure ?? CancellationError(), on: reactor)
            }
            let entry = Entry(made, connection)
            reactor.watchLoss(of: connection) { [weak self, weak entry] _ in
                self?.wasLost(entry)
            }
            return prepared(entry)
        }
    }

    private func prepared(_ entry: Entry) -> Deferred<Entry> {
        guard let prepare else { return .succeeded(entry, on: reactor) }
        return ask(entry, by: prepare).addBoth { [self] result -> Entry in
            if case .failure = result { close(entry) }
            try result.get()
            return entry
        }
    }

    /// Has `prepare` or `check` ask the peer; its answer ends in time, and with a stop.
    private func ask(
        _ entry: Entry, by question: (Made) throws -> Deferred<Void>
    ) -> Deferred<Void> {
        let answer: Deferred<Void>
        do { answer = try question(entry.made) } catch { return .failed(error, on: reactor) }
        let limited = answer.addTimeout(answerLimit)
        let key = noteUnderWay(limited)
        return limited.addBoth { [self] result in
            underWay[key] = nil
            try result.get()
        }
    }

    private func noteUnderWay(_ deferred: AnyDeferred) -> ObjectIdentifier {
        let key = ObjectIdentifier(deferred)
        if deferred.isPending { underWay[key] = deferred }
        return key
    }

    private func giveBack(_ entry: Entry, isUsable: Bool) {
        guard !entry.connection.isLost else { return }
        guard isUsable, !isStopped else { return close(entry) }
        if let waiter = line.popFirst() { return waiter.succeed(entry) }
        entry.end = reactor.callLater(idleLimit) { [self] in
            idle.removeAll { $0 === entry }
            close(entry)
        }
        idle.append(entry)
    }

    // MARK: Ending

    /// It counts until it is lost.
    private func close(_ entry: Entry) {
        entry.end?.cancel()
        entry.end = nil
        if !entry.connection.isLost { entry.connection.loseConnection() }
    }

    private func wasLost(_ entry: Entry?) {
        connectionCount -= 1
        entry?.end?.cancel()
        idle.removeAll { $0 === entry }
        serveNext()
    }

    /// There may be room for a connection that somebody waits for.
    private func serveNext() {
        guard !isStopped, connectionCount < limit, let waiter = line.popFirst() else { return }
        connect().addBoth { [self] result in
            // Who has left meanwhile had its error.
            switch result {
            case .success(let entry) where waiter.isPending: waiter.succeed(entry)
            case .success(let entry): giveBack(entry, isUsable: true)
            case .failure(let error): if waiter.isPending { waiter.fail(error) }
            }
        }.whenFailed { _ in }
    }
}

extension Result {
    fileprivate var failure: Failure? {
        guard case .failure(let error) = self else { return nil }
        return error
    }
}

/// All connections of a ``ConnectionPool`` are lent, and too many wait for one.
public struct PoolExhausted: Error, Hashable, Sendable, CustomStringConvertible {
    /// How many connections the pool has at most.
    public let limit: Int
    /// How many may wait for one.
    public let waitingLimit: Int

    /// A sentence.
    public var description: String {
        "all \(limit) connections of the pool are in use, and \(waitingLimit) users wait already"
    }

    /// Makes one.
    ///
    /// - Parameters:
    ///   - limit: How many connections the pool has at most.
    ///   - waitingLimit: How many may wait for one.
    public init(limit: Int, waitingLimit: Int) {
        self.limit = limit
        self.waitingLimit = waitingLimit
    }
}
