// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

/// Carries out one `StreamClientEndpoint.connect`: waits for a stream, and puts the protocol on top.
final class Connector<Made: StreamProtocol>: DeferredWork<Made> {
    private let makeProtocol: (SocketAddress) throws -> Made
    private let opened: ((StreamConnection) -> Void)?

    /// - Parameters:
    ///   - reactor: Where the connection belongs.
    ///   - opened: Given the connection before the Deferred succeeds.
    ///   - makeProtocol: Called when the stream is there.
    init(
        on reactor: Reactor, opened: ((StreamConnection) -> Void)? = nil,
        makeProtocol: @escaping (SocketAddress) throws -> Made
    ) {
        self.makeProtocol = makeProtocol
        self.opened = opened
        super.init(on: reactor)
    }

    func start(_ opening: Deferred<ByteStream>) -> Deferred<Made> {
        let result = begin()
        wait(for: opening) { [self] stream in open(stream) }
        return result
    }

    private func open(_ stream: ByteStream) {
        // Cancelled meanwhile.
        guard isUnderWay else { return }
        do {
            let made = try makeProtocol(stream.peerAddress)
            // Cancelled inside the factory.
            guard isUnderWay else { return }
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
            guard isUnderWay else { return connection.abortConnection() }
            opened?(connection)
            finish(.success(made))
        } catch {
            finish(.failure(error))
        }
    }
}
