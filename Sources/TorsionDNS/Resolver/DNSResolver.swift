// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

public import TorsionCore

/// Looks names up by asking name servers, on its reactor, without a thread.
///
///     let dns = reactor.companion(of: DNSResolver.self)      // this machine's configuration
///     dns.mailExchangers(of: "example.org").addCallback { exchangers in … }
///
/// It belongs to its reactor: call every member there; from elsewhere the call traps. Equal look-ups
/// that are under way are one query, answers are kept for as long as they may be, 10,000 of them and
/// 16 MiB at most, and every look-up ends within ``DNSConfiguration/limit``.
///
/// Names of `hosts(5)`, `localhost` and what ends in `.localhost` (RFC 6761 §6.3), and addresses
/// never wait.
///
/// - SeeAlso: Twisted `twisted.names.client.Resolver`; RFC 1034, RFC 1035.
public final class DNSResolver: NameResolver, ReactorCompanion {
    unowned let reactor: Reactor
    private var files: MachineFiles?
    private var fixed: DNSConfiguration?
    private var cache = DNSCache()
    private var flights: [DNSCache.Key: QueryFlight] = [:]
    private var nextServer = 0
    /// Does what is not known here, if the machine asks for something else.
    private var system: (any NameResolver)?
    private var override: String?

    var random = RandomPool()
    private(set) var noRandomError: any Error = CancellationError()
    var counters = DNSStatistics()
    var order = AddressOrder()

    /// A resolver with this machine's configuration.
    ///
    /// `/etc/resolv.conf`, `/etc/hosts` and `/etc/nsswitch.conf` are read in place at the first
    /// look-up, since they are small and local, and again at look-ups five seconds apart. At most
    /// 1 MiB of each is read.
    ///
    /// - Parameter reactor: Where it belongs. By `reactor.companion(of:)` all users share one.
    public init(on reactor: Reactor) {
        self.reactor = reactor
        files = MachineFiles()
    }

    /// A resolver with a configuration of your own.
    ///
    /// - Parameters:
    ///   - reactor: Where it belongs; it must outlive the resolver.
    ///   - configuration: Which servers are asked, and how.
    public init(on reactor: Reactor, _ configuration: DNSConfiguration) {
        self.reactor = reactor
        fixed = configuration
    }

    /// Leaves to the system's resolver what it asks for by `nsswitch.conf(5)` and `resolv.conf(5)`.
    ///
    /// - Parameters:
    ///   - system: By `getaddrinfo(3)`.
    ///   - override: The value of `TORSION_RESOLVER`.
    package func leaveUnknown(to system: any NameResolver, override: String?) {
        self.system = system
        self.override = override
    }

    /// Fails all look-ups under way.
    ///
    /// At the end of a run they end by themselves.
    package func shutDown() {
        for flight in flights.values { flight.cancel() }
        system = nil
    }

    /// The servers and options; as the machine's files say it now, unless you gave one.
    public var configuration: DNSConfiguration {
        reactor.checkThread()
        refresh()
        return fixed ?? files?.configuration ?? DNSConfiguration(servers: [])
    }

    /// Which resolver is used for addresses of hosts, by the machine's files.
    public var choice: ResolverChoice {
        reactor.checkThread()
        refresh()
        guard let files, system != nil else { return .own }
        return ResolverChoice(
            nsswitch: files.nsswitch, files.configuration, override: override)
    }

    /// Figures about this resolver.
    public var statistics: DNSStatistics {
        reactor.checkThread()
        var result = counters
        result.lookupsUnderWay = flights.count
        result.cachedAnswers = cache.count
        return result
    }

    /// Asserts what must hold between turns.
    package func checkInvariants() { cache.checkInvariants() }

    /// Forgets all answers.
    public func removeCachedAnswers() {
        reactor.checkThread()
        cache.removeAll()
    }

    // MARK: Hosts

    /// Looks a host up: the addresses of both families, ordered as RFC 6724 says.
    ///
    /// - Parameters:
    ///   - host: A name or a numeric address.
    ///   - port: Put into each address.
    /// - Returns: At least one address, or an `IOError` of operation `resolve` that names the host.
    public func resolve(_ host: String, port: UInt16) -> Deferred<[SocketAddress]> {
        resolve(host, port: port) { _ in }
    }

    /// Looks a host up, and hands over the addresses of each family when they arrive.
    ///
    /// - Parameters:
    ///   - host: A name or a numeric address.
    ///   - port: Put into each address.
    ///   - found: Called with the addresses of one family, before the Deferred fires; perhaps before
    ///     this returns.
    /// - Returns: As ``resolve(_:port:)``.
    public func resolve(
        _ host: String, port: UInt16, found: @escaping ([SocketAddress]) -> Void
    ) -> Deferred<[SocketAddress]> {
        reactor.checkThread()
        if let address = SocketAddress(host: host, port: port) {
            return .succeeded([address], on: reactor)
        }
        if let code = HostName.refusal(of: host) { return refuse(host, code) }
        guard !reactor.isEnding else { return reactor.refused() }
        refresh()
        let usesSystem = system != nil && choice != .own
        if !usesSystem || files.map({ ResolverChoice.readsHostsFirst($0.nsswitch) }) ?? true {
            let known = configuration.hosts.addresses(of: host, port: port)
            if !known.isEmpty { return .succeeded(order.sort(known, on: reactor), on: reactor) }
            if HostName.isLocal(host) {
                return .succeeded(
                    [.ipv6(.loopback, port: port), .ipv4(.loopback, port: port)], on: reactor)
            }
        }
        // Only the system knows the numbers of its interfaces, and their addresses.
        let isOfMachine =
            host.utf8.contains(UInt8(ascii: "%")) || files?.isOwnName(host) ?? false
        if usesSystem || isOfMachine, let system {
            counters.systemLookups += 1
            return system.resolve(host, port: port)
        }
        guard let search = HostSearch(host, port: port, configuration) else {
            return refuse(host, .hostNotFound)
        }
        return HostLookup(search, host: host, of: self, within: configuration.limit, found: found)
            .start()
    }

    private func refuse(_ host: String, _ code: ErrorCode) -> Deferred<[SocketAddress]> {
        .failed(IOError(.resolve, function: "", code: code, subject: host), on: reactor)
    }

    // MARK: Questions

    /// Asks one question, without a search list and without `hosts(5)`.
    ///
    /// Cancelling the Deferred gives up; the query ends with the last who waits for it.
    ///
    /// - Parameter question: The name and the type to ask for.
    /// - Returns: At least one record; or ``DNSLookupError``.
    public func lookUp(_ question: DNSQuestion) -> Deferred<DNSAnswer> {
        reactor.checkThread()
        guard !reactor.isEnding else { return reactor.refused() }
        refresh()
        var stop: (() -> Void)?
        let deferred = Deferred<DNSAnswer>(on: reactor) { _ in stop?() }
        stop = ask(question) { result in
            switch result {
            case .success(let answer): deferred.succeed(answer)
            case .failure(let error): deferred.fail(error)
            }
        }
        return deferred
    }

    /// Asks, and calls `body` with the answer: before this returns if it is known.
    ///
    /// - Returns: What gives up; nil if the answer was known.
    func ask(
        _ question: DNSQuestion, _ body: @escaping QueryFlight.Waiter
    ) -> (() -> Void)? {
        counters.lookups += 1
        if let known = cache.outcome(of: question, now: reactor.now) {
            counters.cacheHits += 1
            body(known.mapError { $0 as any Error })
            return nil
        }
        let key = DNSCache.Key(question)
        if let flight = flights[key] { return wait(for: flight, body) }
        let configuration = fixed ?? files?.configuration ?? DNSConfiguration(servers: [])
        if configuration.rotatesServers { nextServer += 1 }
        let resolution = Resolution(
            question, configuration, firstServer: nextServer,
            deadline: reactor.now.advanced(by: configuration.limit))
        let flight = QueryFlight(resolution, key: key, of: self, on: reactor)
        flights[key] = flight
        let stop = wait(for: flight, body)
        flight.start()
        return stop
    }

    private func wait(
        for flight: QueryFlight, _ body: @escaping QueryFlight.Waiter
    ) -> () -> Void {
        let number = flight.add(body)
        return { [weak flight] in flight?.removeWaiter(number) }
    }

    // MARK: For flights

    func keep(_ outcome: Result<DNSAnswer, DNSLookupError>, for question: DNSQuestion) {
        cache.keep(outcome, for: question, now: reactor.now)
    }

    func forget(_ flight: QueryFlight, _ key: DNSCache.Key) {
        if flights[key] === flight { flights[key] = nil }
    }

    /// Makes sure that there are random bytes for one query.
    func fillRandom() -> Bool {
        guard random.needsMore else { return true }
        do throws(IOError) {
            random.add(try reactor.randomBytes(count: 512))
            return true
        } catch {
            noRandomError = error
            return false
        }
    }

    private func refresh() {
        guard files?.isDue(reactor.now) == true else { return }
        if files?.read(on: reactor) == true { cache.removeAll() }
    }
}

/// Figures about a ``DNSResolver``, since it was made.
public struct DNSStatistics: Hashable, Sendable {
    /// Questions that were asked of the resolver.
    public internal(set) var lookups: UInt64 = 0
    /// Those whose answer was remembered.
    public internal(set) var cacheHits: UInt64 = 0
    /// Queries that were sent as datagrams.
    public internal(set) var datagrams: UInt64 = 0
    /// Queries that were sent over a connection of their own.
    public internal(set) var connections: UInt64 = 0
    /// Hosts that were left to the system's resolver.
    public internal(set) var systemLookups: UInt64 = 0
    /// Questions that servers are being asked now.
    public internal(set) var lookupsUnderWay = 0
    /// Answers that are remembered, negative ones too.
    public internal(set) var cachedAnswers = 0
}

/// One host that is being looked up, kept alive by what it waits for.
private final class HostLookup {
    private var search: HostSearch
    private let host: String
    private let resolver: DNSResolver
    private let limit: Duration
    private let found: ([SocketAddress]) -> Void
    private var stops: [() -> Void] = []
    private var timer: DelayedCall?
    private var result: Deferred<[SocketAddress]>?

    init(
        _ search: HostSearch, host: String, of resolver: DNSResolver, within limit: Duration,
        found: @escaping ([SocketAddress]) -> Void
    ) {
        self.search = search
        self.host = host
        self.resolver = resolver
        self.limit = limit
        self.found = found
    }

    func start() -> Deferred<[SocketAddress]> {
        let result = Deferred<[SocketAddress]>(on: resolver.reactor) { [self] _ in
            self.result = nil
            stop()
        }
        self.result = result
        perform(search.start())
        if self.result != nil {
            timer = resolver.reactor.callLater(limit) { [self] in
                timer = nil
                let addresses = search.found
                finish(
                    addresses.isEmpty
                        ? .failure(
                            IOError(.resolve, function: "", code: .timedOut, subject: host))
                        : .success(addresses))
            }
        }
        return result
    }

    private func perform(_ action: HostSearch.Action) {
        switch action {
        case .ask(let name):
            stops = []
            for type in [DNSRecordType.aaaa, .a] where result != nil {
                let stop = resolver.ask(DNSQuestion(name: name, type: type)) { [self] outcome in
                    answered(type, outcome)
                }
                if let stop { stops.append(stop) }
            }
        case .found(let addresses): found(addresses)
        case .finish(.success(let addresses)): finish(.success(addresses))
        case .finish(.failure(let error)):
            finish(
                .failure(IOError(.resolve, function: "", code: error.code, subject: host)))
        }
    }

    private func answered(_ type: DNSRecordType, _ outcome: Result<DNSAnswer, any Error>) {
        guard result != nil else { return }
        let answer: Result<DNSAnswer, DNSLookupError>
        switch outcome {
        case .success(let found): answer = .success(found)
        case .failure(let error as DNSLookupError): answer = .failure(error)
        case .failure(let error): return finish(.failure(error))
        }
        for action in search.answered(type, answer) where result != nil { perform(action) }
    }

    private func finish(_ outcome: Result<[SocketAddress], any Error>) {
        guard let result else { return }
        self.result = nil
        stop()
        switch outcome {
        case .success(let addresses):
            result.succeed(resolver.order.sort(addresses, on: resolver.reactor))
        case .failure(let error): result.fail(error)
        }
    }

    private func stop() {
        timer?.cancel()
        timer = nil
        let stops = stops
        self.stops = []
        for stop in stops { stop() }
    }
}
