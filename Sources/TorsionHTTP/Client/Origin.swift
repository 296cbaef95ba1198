// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

internal import TorsionCore

/// The connections to one origin, and the requests that want one: carries out what ``OriginPool`` decides.
final class Origin {
    let options: HTTPClientOptions
    let headLimits: HeadLimits
    private let reactor: Reactor
    private let endpoint: any StreamClientEndpoint
    @exclusivity(unchecked) private var pool: OriginPool
    @exclusivity(unchecked) private var connections: [Int: ClientConnection] = [:]
    /// Those that wait for a connection, or for one to be made.
    @exclusivity(unchecked) private var sendings: [Int: Sending] = [:]
    @exclusivity(unchecked) private var madeCount = 0
    @exclusivity(unchecked) private var look: DelayedCall?
    @exclusivity(unchecked) private var lookTime: MonotonicInstant?

    init(
        _ endpoint: any StreamClientEndpoint, on reactor: Reactor, _ options: HTTPClientOptions,
        _ headLimits: HeadLimits, _ poolLimits: OriginPool.Limits
    ) {
        self.endpoint = endpoint
        self.reactor = reactor
        self.options = options
        self.headLimits = headLimits
        pool = OriginPool(poolLimits)
    }

    deinit { look?.cancel() }

    var isEmpty: Bool { pool.isEmpty }
    var connectionCount: Int { pool.connectionCount }
    var idleCount: Int { pool.idleCount }

    /// A request wants a connection.
    ///
    /// - Returns: Its number here, for ``withdraw(_:)``.
    func submit(_ sending: Sending, needsNew: Bool) -> Int {
        madeCount += 1
        let number = madeCount
        sendings[number] = sending
        sending.isSubmitted(as: number, to: self)
        perform(pool.submit(number, needsNew: needsNew, at: reactor.now))
        return number
    }

    /// A request that has no connection yet is not wanted any more.
    func withdraw(_ number: Int) {
        sendings[number] = nil
        perform(pool.withdraw(number))
    }

    func connectionFreed(_ connection: ClientConnection, serverTime: Duration?) {
        perform(pool.freed(connection.number, serverTime: serverTime, at: reactor.now))
    }

    func connectionLost(_ connection: ClientConnection) {
        guard connections.removeValue(forKey: connection.number) != nil else { return }
        perform(pool.lost(connection.number))
    }

    func closeIdle() { perform(pool.closeIdle()) }

    private func perform(_ actions: [OriginPool.Action]) {
        for action in actions {
            switch action {
            case .send(let request, let number):
                guard let connection = connections[number] else { continue }
                sendings.removeValue(forKey: request)?.send(on: connection)
            case .open(let request): open(for: request)
            case .close(let number): connections.removeValue(forKey: number)?.closeIdle()
            case .expire(let request):
                let limit = options.waitingTimeout
                fail(request, HTTPTimeout(step: .waiting, limit: limit))
            case .refuse(let request):
                fail(request, HTTPClientError.tooManyWaiting(limit: options.waitingLimit))
            }
        }
        planLook()
    }

    private func fail(_ request: Int, _ error: any Error) {
        sendings.removeValue(forKey: request)?.failed(error)
    }

    // MARK: Making connections

    private func open(for request: Int) {
        guard let sending = sendings[request] else { return }
        madeCount += 1
        let number = madeCount
        let limit = options.connectTimeout
        let attempt = endpoint.connect(on: reactor) { [self] in
            ClientConnection(number, of: self, on: reactor)
        }
        .addTimeout(limit)
        let link = attempt.addBoth { [self] outcome in
            switch outcome {
            case .success(let connection): opened(connection, for: request)
            case .failure(let error):
                let isLate = error is TimeoutError
                failedToOpen(
                    request, isLate ? HTTPTimeout(step: .connecting, limit: limit) : error)
            }
        }
        if link.isPending { sending.isConnecting(link) }
    }

    private func opened(_ connection: ClientConnection, for request: Int) {
        guard let sending = sendings.removeValue(forKey: request) else {
            return connection.closeIdle()
        }
        connections[connection.number] = connection
        pool.opened(for: request, as: connection.number)
        sending.send(on: connection)
    }

    private func failedToOpen(_ request: Int, _ error: any Error) {
        guard let sending = sendings.removeValue(forKey: request) else { return }
        perform(pool.withdraw(request))
        sending.failed(error)
    }

    // MARK: Times

    private func planLook() {
        let next = pool.nextDeadline
        // One that comes too early looks, and comes again: connections that are idle and busy by turns do
        // not move it.
        if let lookTime, next.map({ lookTime <= $0 }) ?? !pool.isEmpty { return }
        guard let next else {
            look?.cancel()
            (look, lookTime) = (nil, nil)
            return
        }
        look?.cancel()
        lookTime = next
        look = reactor.callLater(max(reactor.now.duration(to: next), .zero)) { [weak self] in
            guard let self else { return }
            (look, lookTime) = (nil, nil)
            perform(pool.passed(reactor.now))
        }
    }

    func checkInvariants() {
        pool.checkInvariants()
        require(
            sendings.count + connections.count == pool.waitingCount + pool.connectionCount,
            "Origin: the pool counts other requests or connections")
    }
}
