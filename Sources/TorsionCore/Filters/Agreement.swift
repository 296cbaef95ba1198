// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

/// A stream whose filters have agreed, and what came of it.
struct AgreedStream {
    var stream: any BackendStream
    /// What its filters have learnt; nil, as for nearly all, if nothing.
    var box: DetailsBox?
    /// What arrived already, and is the protocol's.
    var input = Bytes()

    init(stream: any BackendStream) { self.stream = stream }

    var details: ConnectionDetails { box?.value ?? ConnectionDetails() }

    var peerAddress: SocketAddress { box?.value.peerAddress ?? stream.peerAddress }

    /// Adds what a filter has learnt.
    mutating func learn(_ details: ConnectionDetails) {
        let box = box ?? DetailsBox(ConnectionDetails())
        box.value.merge(details)
        self.box = box
    }
}

/// Puts filters over a stream, one after the other, each when the one below has agreed.
///
/// As an attempt to connect it ends once: agreed, failed, timed out or cancelled. Filters that need
/// nothing from the peer agree at once, inside ``begin()``.
final class Agreement: StreamReceiver {
    private let reactor: Reactor
    private var agreed: AgreedStream
    private var makers: ArraySlice<FilterMaker>
    private var filter: StreamFilter?
    private let limit: Duration
    private var timeout: DelayedCall?
    private var slot: Int32 = -1
    private var completion: ((Result<AgreedStream, any Error>) -> Void)?

    /// - Parameters:
    ///   - reactor: The stream's.
    ///   - stream: Connected, and used by nobody.
    ///   - makers: Make the filters, the lowest first.
    ///   - limit: How long all of it may take.
    ///   - completion: Called once, unless it is cancelled.
    init(
        reactor: Reactor, _ stream: AgreedStream, _ makers: [FilterMaker], within limit: Duration,
        completion: @escaping (Result<AgreedStream, any Error>) -> Void
    ) {
        self.reactor = reactor
        agreed = stream
        self.makers = makers[...]
        self.limit = limit
        self.completion = completion
    }

    /// Begins; the completion may be called inside.
    func begin() {
        goOn()
        guard completion != nil else { return }
        slot = reactor.agreements.insert(self)
        timeout = reactor.callLater(limit) { [self] in
            timeout = nil
            fail(ConnectionLoss.deadlinePassed(.handshaking))
        }
    }

    private func goOn() {
        while completion != nil, let make = makers.popFirst() {
            let filter = make()
            self.filter = filter
            filter.attach(over: agreed.stream, on: reactor, input: agreed.input)
            agreed.input = Bytes()
            agreed.stream = filter
            filter.deliver(to: self)
            do { try filter.start() } catch { return fail(error) }
            switch filter.stage {
            case .handshaking: return
            case .withdrawn where filter.isSending: return
            case .open, .withdrawn: take(filter)
            case .unattached, .closed: return
            }
        }
        end()?(.success(agreed))
    }

    /// The filter has agreed.
    private func take(_ filter: StreamFilter) {
        self.filter = nil
        if let details = filter.takeDetails() { agreed.learn(details) }
        guard filter.stage == .withdrawn else { return }
        agreed.stream = filter.below
        agreed.input = filter.takeInput()
        filter.finishWithdrawal()
    }

    /// Gives up; the completion is not called.
    ///
    /// Harmless when it has ended.
    func cancel() {
        guard end() != nil else { return }
        agreed.stream.close()
    }

    /// The reactor is stopping: fails now.
    func abandon() {
        fail(
            IOError(
                .handshake, function: "", code: .canceled, subject: agreed.stream.peerAddress))
    }

    /// Asserts what must hold between events of one that is under way.
    func checkInvariants() {
        require(completion != nil && filter != nil, "Agreement: kept after its end")
        require(timeout?.isActive ?? false, "Agreement: has no deadline")
    }

    private func fail(_ error: any Error) {
        guard let completion = end() else { return }
        agreed.stream.close()
        reactor.performEvent { completion(.failure(error)) }
    }

    private func end() -> ((Result<AgreedStream, any Error>) -> Void)? {
        timeout?.cancel()
        timeout = nil
        if slot >= 0 { reactor.agreements.remove(slot) }
        slot = -1
        defer { completion = nil }
        return completion
    }

    func streamDidConnect() {
        guard let filter else { return }
        reactor.performEvent {
            take(filter)
            goOn()
        }
    }

    func streamDidFail(_ error: any Error) { fail(error) }

    func streamDidRead(_ bytes: RawSpan) { mistake("Agreement: bytes before the agreement") }

    func streamDidReadEnd() { mistake("Agreement: an end before the agreement") }

    func streamDidWrite(byteCount: Int) {}
}

extension Reactor {
    /// Puts filters over a stream; the completion is called at once if none needs the peer.
    func agree(
        over stream: AgreedStream, _ makers: [FilterMaker], within limit: Duration,
        _ completion: @escaping (Result<AgreedStream, any Error>) -> Void
    ) -> Agreement? {
        if makers.isEmpty {
            completion(.success(stream))
            return nil
        }
        let agreement = Agreement(
            reactor: self, stream, makers, within: limit, completion: completion)
        agreement.begin()
        return agreement
    }
}
