// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

/// The ports that the reactors of a group share.
///
/// Each listens with a socket of its own on the same port; where the port was left to the kernel,
/// the first reactor's is taken by the others.
package final class GroupPorts: Sendable {
    /// The nth port that a reactor asks for at an address.
    private struct Key: Hashable {
        let address: SocketAddress
        let ordinal: Int
    }

    private struct Count: Hashable {
        let address: SocketAddress
        let reactor: UInt32
    }

    private struct State {
        var chosen: [Key: SocketAddress] = [:]
        var asked: [Count: Int] = [:]
    }

    private let state = Lock(State())

    package init() {}

    /// Binds under the lock, so that two reactors never both let the kernel choose.
    func listen(
        on address: SocketAddress, from reactor: UInt32,
        _ bind: (SocketAddress) throws(IOError) -> ListeningPort
    ) throws(IOError) -> ListeningPort {
        guard address.port == 0 else { return try bind(address) }
        let key = state.withLock { state in
            let count = Count(address: address, reactor: reactor)
            defer { state.asked[count, default: 0] += 1 }
            return Key(address: address, ordinal: state.asked[count, default: 0])
        }
        return try open(address, as: key, bind)
    }

    private func open(
        _ address: SocketAddress, as key: Key,
        _ bind: (SocketAddress) throws(IOError) -> ListeningPort
    ) throws(IOError) -> ListeningPort {
        // The port itself belongs to one reactor and must not leave this thread, which a result
        // of `withLock` would do for all that the compiler knows.
        var opened: ListeningPort?
        var failure: IOError?
        state.withLock { state in
            do throws(IOError) {
                let port = try bind(state.chosen[key] ?? address)
                state.chosen[key] = port.localAddress
                opened = port
            } catch {
                failure = error
            }
        }
        if let failure { throw failure }
        return opened!
    }
}
