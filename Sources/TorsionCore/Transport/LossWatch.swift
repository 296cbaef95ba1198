// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

extension Reactor {
    /// Calls `body` when the connection was lost, after its protocol was told.
    ///
    /// The closures stand in a table of the reactor, so that a connection which nobody watches has
    /// no room for one.
    func watchLoss(of connection: StreamConnection, _ body: @escaping (ConnectionLoss) -> Void) {
        lossWatches[connection.id] = body
    }

    /// Calls `body` when a transport was lost; ignores a transport that is not a connection of the
    /// reactor itself.
    ///
    /// For the command `torsion`, which is another package and so cannot use `package` access.
    ///
    /// - Parameters:
    ///   - transport: The connection to watch, of this reactor.
    ///   - body: Called on the reactor with the reason, once, after `connectionLost`.
    @_spi(Tool) public func watchLoss(
        of transport: any StreamTransport, _ body: @escaping (ConnectionLoss) -> Void
    ) {
        if let connection = transport as? StreamConnection { watchLoss(of: connection, body) }
    }

    /// A connection's protocol was told of its loss.
    @inline(__always)
    func tellLossWatch(of id: ConnectionID, _ loss: ConnectionLoss?) {
        if !lossWatches.isEmpty, let loss { callLossWatch(of: id, loss) }
    }

    @inline(never)
    private func callLossWatch(of id: ConnectionID, _ loss: ConnectionLoss) {
        lossWatches.removeValue(forKey: id)?(loss)
    }
}
