// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

/// Carries out one `StreamClientEndpoint.connect`: waits for a stream, and puts the protocol on top.
///
/// Kept alive by what it waits for.
final class Connector<Made: StreamProtocol> {
    private let reactor: Reactor
    private let makeProtocol: (SocketAddress) throws -> Made
    private let opened: ((StreamConnection) -> Void)?
    private var result: Deferred<Made>?
    private var opening: AnyDeferred?

    /// - Parameters:
    ///   - reactor: Where the connection belongs.
    ///   - opened: Given the connection before the Deferred succeeds.
    ///   - makeProtocol: Called when the stream is there.
    init(
        on reactor: Reactor, opened: ((StreamConnection) -> Void)? = nil,
        makeProtocol: @escaping (SocketAddress) throws -> Made
    ) {
        self.reactor = reactor
        self.makeProtocol = makeProtocol
        self.opened = opened
    }

    func start(_ opening: Deferred<ByteStream>) -> Deferred<Made> {
        let result = Deferred<Made>(on: reactor) { [self] _ in giveUp() }
        self.result = result
        let link = opening.addBoth { [self] outcome in
            self.opening = nil
            switch outcome {
            case .success(let stream): open(stream)
            case .failure(let error): finish(.failure(error))
            }
        }
        if link.isPending { self.opening = link }
        return result
    }

    private func open(_ stream: ByteStream) {
        // Cancelled meanwhile.
        guard result != nil else { return }
        do {
            let made = try makeProtocol(stream.peerAddress)
            // Cancelled inside the factory.
            guard result != nil else { return }
            let observer = stream.observer
            let agreed = stream.take()
            let connection = StreamConnection(
                reactor: reactor, agreed.stream, proto: made, options: stream.options)
            connection.take(agreed, watchedBy: observer)
            do {
                try connection.open(isServed: false)
            } catch {
                connection.lossWasReported()
                return finish(.failure(error))
            }
            // Cancelled inside `connectionMade`.
            guard result != nil else { return connection.abortConnection() }
            opened?(connection)
            finish(.success(made))
        } catch {
            finish(.failure(error))
        }
    }

    private func finish(_ outcome: Result<Made, any Error>) {
        guard let result else { return }
        self.result = nil
        switch outcome {
        case .success(let made): result.succeed(made)
        case .failure(let error): result.fail(error)
        }
    }

    /// The Deferred was cancelled; it fails by itself.
    private func giveUp() {
        result = nil
        let opening = opening
        self.opening = nil
        opening?.cancel()
    }
}
