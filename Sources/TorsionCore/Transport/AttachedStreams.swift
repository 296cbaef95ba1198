// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

extension Reactor {
    /// Puts a protocol above a stream that somebody else ends, as a child's pipe ends with the child.
    ///
    /// A stop of the reactor does not ask its protocol, and waits for it behind the server's clients.
    /// What `connectionMade` throws is the reason of the loss, and reported.
    ///
    /// - Parameters:
    ///   - stream: Open, and paused.
    ///   - proto: Called with what happens, from now on.
    ///   - options: Of the connection.
    ///   - whenLost: Called once, when the protocol was called with the loss; dropped at the end of
    ///     the run.
    /// - Returns: The connection.
    package func attach(
        _ stream: any BackendStream, _ proto: any StreamProtocol, options: StreamOptions,
        whenLost: @escaping (ConnectionLoss) -> Void
    ) -> any StreamTransport {
        checkThread()
        let connection = StreamConnection(
            reactor: self, stream, proto: proto, options: SharedOptions(options))
        connection.client.request = .done
        watchLoss(of: connection, whenLost)
        performEvent { try? connection.open(isServed: false) }
        return connection
    }
}
