// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

/// Carries out one `ClientEndpoint.openStream`: resolves, and tries addresses.
final class StreamOpener: DeferredWork<ByteStream> {
    private let endpoint: ClientEndpoint
    private var eyeballs = HappyEyeballs([])
    private var attempts: [ConnectAttempt] = []
    private var agreement: Agreement?
    private var delay: DelayedCall?
    /// While there are only IPv4 addresses, and IPv6 ones may follow soon.
    private var resolutionDelay: DelayedCall?
    /// What was found before the race.
    private var found: [SocketAddress] = []
    private var isRacing = false
    /// Whether more addresses may be found.
    private var isResolving = false
    private var failures: [(address: SocketAddress, error: IOError)] = []
    /// Whether `openStream` has not returned yet.
    private var isStarting = false

    init(to endpoint: ClientEndpoint, on reactor: Reactor) {
        self.endpoint = endpoint
        super.init(on: reactor)
    }

    func start() -> Deferred<ByteStream> {
        let result = begin()
        guard !reactor.refusesToConnect else {
            reactor.refuseLater { [self] in finish(.failure(refusal)) }
            return result
        }
        isStarting = true
        defer { isStarting = false }
        do throws(IOError) {
            try reactor.startIfNeeded()
            switch endpoint.place {
            case .address(let address):
                eyeballs = HappyEyeballs([address])
                race()
            case .host(let host, let port): try resolve(host, port)
            case .descriptor(let descriptor): try adopt(try reactor.usable(descriptor))
            case .pair(let pair):
                let (input, output) = try reactor.usable(pair)
                openLater(try reactor.backend.open(input: input, output: output))
            }
        } catch {
            finish(.failure(error))
        }
        return result
    }

    private var refusal: IOError {
        IOError(.connect, function: "", code: .canceled, subject: endpoint.name)
    }

    private func adopt(_ descriptor: Int32) throws(IOError) {
        let adopted = try reactor.backend.adopt(
            descriptor, options: endpoint.options, receiver: NoClients())
        guard case .stream(let stream) = adopted else {
            if case .listener(let listener) = adopted { listener.close() }
            throw IOError(.connect, function: "", code: .notConnected, subject: endpoint.name)
        }
        openLater(stream)
    }

    private func openLater(_ stream: any BackendStream) {
        // Closed with the call, if the run ends before it is made.
        let held = ByteStream(stream, options: endpoint.options)
        // Not inline: `connect` may be called inside a callback.
        reactor.callLater(.zero) { [self] in
            // Else it was cancelled meanwhile.
            if isUnderWay { open(held) }
        }
    }

    private func resolve(_ host: String, _ port: UInt16) throws(IOError) {
        isResolving = true
        let lookup = try reactor.resolver.resolve(host, port: port) { [self] addresses in
            if isResolving { take(addresses, isLast: false) }
        }
        wait(forOutcomeOf: lookup) { [self] outcome in
            guard isResolving else { return }
            isResolving = false
            switch outcome {
            case .success(let addresses): take(addresses, isLast: true)
            // What was found before is tried all the same.
            case .failure(let error):
                if found.isEmpty { finish(.failure(error)) } else { take([], isLast: true) }
            }
        }
    }

    /// Addresses of the host, perhaps of one family only: RFC 8305 §3.
    private func take(_ addresses: [SocketAddress], isLast: Bool) {
        found += addresses
        if isRacing { return perform(eyeballs.add(addresses, isLast: isLast)) }
        if isLast || found.contains(where: \.isIPv6) {
            // The whole list is in the order of preference.
            let list = isLast && !addresses.isEmpty ? addresses : found
            eyeballs = HappyEyeballs(list, isComplete: isLast)
            race()
        } else if resolutionDelay == nil, !found.isEmpty {
            resolutionDelay = reactor.callLater(HappyEyeballs.resolutionDelay) { [self] in
                eyeballs = HappyEyeballs(found, isComplete: false)
                race()
            }
        }
    }

    // MARK: The race

    private func race() {
        resolutionDelay?.cancel()
        resolutionDelay = nil
        isRacing = true
        perform(eyeballs.start())
    }

    private func perform(_ first: HappyEyeballs.Action) {
        var action = first
        while case .attempt(let address, let next) = action, isUnderWay {
            action = begin(address, next) ? .none : eyeballs.attemptFailed()
        }
        if action == .fail { finish(.failure(failure)) }
    }

    /// - Returns: Whether it is under way; some fail at once.
    private func begin(_ address: SocketAddress, _ next: Duration?) -> Bool {
        delay?.cancel()
        delay = nil
        do throws(IOError) {
            var attempt: ConnectAttempt?
            attempt = try ConnectAttempt(
                reactor: reactor, address: address, options: endpoint.options
            ) { [self] outcome in
                attempts.removeAll { $0 === attempt }
                ended(address, outcome)
            }
            attempts.append(attempt!)
        } catch {
            failures.append((address, error))
            return false
        }
        if let next {
            delay = reactor.callLater(next) { [self] in perform(eyeballs.delayPassed()) }
        }
        return true
    }

    private func ended(
        _ address: SocketAddress, _ outcome: Result<any BackendStream, IOError>
    ) {
        switch outcome {
        case .success(let stream):
            open(ByteStream(stream, options: endpoint.options))
        case .failure(let error) where error.code == .canceled:
            // The reactor is stopping: no further attempt.
            finish(.failure(error))
        case .failure(let error):
            failures.append((address, error))
            perform(eyeballs.attemptFailed())
        }
    }

    /// The most telling error; that of a host names every address, each with its code.
    private var failure: IOError {
        guard let last = failures.last else {
            return IOError(.resolve, function: "", code: .noAddress, subject: endpoint.name)
        }
        var telling = (failures.last { $0.error.code.isTelling } ?? last).error
        // An error of `bind(2)` is about our own address, and names that.
        guard case .host = endpoint.place, telling.operation == .connect else { return telling }
        let tried =
            failures.count == 1
            ? "\(last.address)"
            : failures.map { "\($0.address) \($0.error.code.name)" }.joined(separator: ", ")
        telling.subject = "\(endpoint.name) (\(tried))"
        return telling
    }

    // MARK: The end

    private func open(_ opened: ByteStream) {
        let filters = reactor.streamFilters + reactor.endFilters.client
        guard !filters.isEmpty else { return finish(.success(opened)) }
        stopTrying()
        let limit = endpoint.options.handshakeTimeout
        let agreement = reactor.agree(over: opened.take(), filters, within: limit) {
            [self] outcome in
            self.agreement = nil
            finish(outcome.map { ByteStream($0, opened) })
        }
        if isUnderWay { self.agreement = agreement }
    }

    override func finish(_ outcome: Result<ByteStream, any Error>) {
        stopTrying()
        // Not inside `connect`: an errback that connects again at once would recurse.
        guard isStarting, isUnderWay else { return super.finish(outcome) }
        reactor.refuseLater { [self] in finish(outcome) }
    }

    override func giveUp() {
        stopTrying()
        agreement?.cancel()
        agreement = nil
    }

    private func stopTrying() {
        isResolving = false
        stopWaiting()
        delay?.cancel()
        delay = nil
        resolutionDelay?.cancel()
        resolutionDelay = nil
        let attempts = attempts
        self.attempts = []
        for attempt in attempts { attempt.cancel() }
    }
}

extension ErrorCode {
    /// Whether it is about the host, and not about a family of addresses that this machine, or the
    /// way there, does not have.
    fileprivate var isTelling: Bool {
        switch self {
        case .hostUnreachable, .networkUnreachable, .addressNotAvailable,
            .addressFamilyNotSupported:
            false
        default:
            true
        }
    }
}

/// A connected socket has none.
private final class NoClients: ListenerReceiver {
    func listenerDidAccept(_ stream: any BackendStream) { stream.close() }
    func listenerDidFail(_ code: ErrorCode) {}
}
