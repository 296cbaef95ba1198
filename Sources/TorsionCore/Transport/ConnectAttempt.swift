// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

/// One attempt to connect to one address, with its time limit.
///
/// Ends once: connected, failed, timed out or cancelled.
///
/// A UNIX server whose backlog is full refuses a socket that does not wait with EAGAIN, `connect(2)`,
/// and nothing tells when there is room. TCP waits and sends again in that case, so this does: a
/// backlog is full for a moment only, unless the server does not accept at all.
final class ConnectAttempt: StreamReceiver {
    /// How long until a full backlog is tried again, the first time; twice as long each time after.
    private static let firstPause = Duration.milliseconds(1)
    private static let longestPause = Duration.milliseconds(100)

    let address: SocketAddress
    private let reactor: Reactor
    private let options: StreamOptions
    /// Nil while it waits to try again.
    private var stream: (any BackendStream)?
    private var pause = ConnectAttempt.firstPause
    private var retry: DelayedCall?
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
        self.options = options
        self.completion = completion
        try begin()
        slot = reactor.attempts.insert(self)
        timeout = reactor.callLater(options.connectTimeout) { [self] in timedOut() }
    }

    private func begin() throws(IOError) {
        do throws(IOError) {
            stream = try reactor.backend.connect(to: address, options: options, receiver: self)
        } catch {
            guard isBacklogFull(error) else { throw error }
            retry = reactor.callLater(pause) { [self] in tryAgain() }
            pause = min(pause * 2, Self.longestPause)
        }
    }

    private func isBacklogFull(_ error: IOError) -> Bool {
        guard case .unix = address else { return false }
        return error.operation == .connect && error.code == .wouldBlock
    }

    private func tryAgain() {
        retry = nil
        do throws(IOError) { try begin() } catch { streamDidFail(error) }
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
        require(completion != nil, "ConnectAttempt: kept after its end")
        require(
            (stream != nil) != (retry?.isActive ?? false),
            "ConnectAttempt: neither connects nor waits to, or both")
        require(timeout?.isActive ?? false, "ConnectAttempt: has no deadline")
    }

    func streamDidConnect() {
        guard let completion, let stream = end() else { return }
        reactor.performEvent { completion(.success(stream)) }
    }

    func streamDidFail(_ error: any Error) {
        guard let completion else { return }
        // A backend reports no other.
        let error =
            error as? IOError
            ?? IOError(.connect, function: "", code: .connectionReset, subject: address)
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
        retry?.cancel()
        retry = nil
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
