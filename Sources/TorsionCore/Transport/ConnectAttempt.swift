// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

/// One attempt to connect to one address, with its time limit.
///
/// Ends once: connected, failed, timed out or cancelled.
final class ConnectAttempt: StreamReceiver {
    let address: SocketAddress
    private let reactor: Reactor
    private var stream: (any BackendStream)?
    private var timeout: DelayedCall?
    private var slot: Int32 = -1
    private var completion: ((Result<any BackendStream, IOError>) -> Void)?

    /// Begins to connect.
    ///
    /// The completion is called once, in a later turn, unless it is cancelled.
    ///
    /// - Throws: What fails at once.
    init(
        reactor: Reactor, address: SocketAddress, options: StreamOptions,
        completion: @escaping (Result<any BackendStream, IOError>) -> Void
    ) throws(IOError) {
        self.reactor = reactor
        self.address = address
        self.completion = completion
        stream = try reactor.backend.connect(to: address, options: options, receiver: self)
        slot = reactor.attempts.insert(self)
        timeout = reactor.callLater(options.connectTimeout) { [self] in timedOut() }
    }

    /// Gives up; the completion is not called.
    ///
    /// Harmless when it has ended.
    func cancel() {
        guard completion != nil else { return }
        end()?.close()
    }

    /// The reactor is stopping: fails now.
    func abandon() { fail(.canceled) }

    /// Asserts what must hold between events of one that is under way.
    func checkInvariants() {
        require(completion != nil && stream != nil, "ConnectAttempt: kept after its end")
        require(timeout?.isActive ?? false, "ConnectAttempt: has no deadline")
    }

    func streamDidConnect() {
        guard let completion, let stream = end() else { return }
        reactor.performEvent { completion(.success(stream)) }
    }

    func streamDidFail(_ error: IOError) {
        guard let completion else { return }
        end()?.close()
        reactor.performEvent { completion(.failure(error)) }
    }

    private func timedOut() { fail(.timedOut) }

    private func fail(_ code: ErrorCode) {
        streamDidFail(IOError(.connect, function: "connect", code: code, subject: "\(address)"))
    }

    private func end() -> (any BackendStream)? {
        timeout?.cancel()
        timeout = nil
        completion = nil
        reactor.attempts.remove(slot)
        defer { stream = nil }
        return stream
    }

    func streamDidRead(_ bytes: RawSpan) { notConnected() }
    func streamDidReadEnd() { notConnected() }
    func streamDidWrite(byteCount: Int) { notConnected() }

    private func notConnected() -> Never {
        mistake("ConnectAttempt: the backend delivered before streamDidConnect")
    }
}
