// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

public import TorsionCore

/// How many connections one port may have at a time; nil is unlimited.
///
/// A plain value, usable on any thread. In a group of reactors each has a port, and each port these
/// limits.
///
///     endpoint.limited(to: ConnectionLimits(total: 10_000, perPeer: 50))
///         .listen(on: reactor) { Chat(room) }
public struct ConnectionLimits: Hashable, Sendable {
    /// How many in all.
    public var total: Int?

    /// How many of one address, whatever their ports.
    ///
    /// IPv6 addresses count by their first 64 bits, which is what one customer has (RFC 6177).
    /// Peers of UNIX sockets lack distinct addresses, and are only counted in all.
    public var perPeer: Int?

    /// The two, each of them positive.
    ///
    /// - Parameters:
    ///   - total: Connections of a port at once; `nil` for any number.
    ///   - perPeer: Connections of one peer at once; `nil` for any number.
    public init(total: Int? = nil, perPeer: Int? = nil) {
        for limit in [total, perPeer] {
            if let limit {
                require(limit > 0, "ConnectionLimits: a limit is positive, as \(limit) is not")
            }
        }
        self.total = total
        self.perPeer = perPeer
    }
}

/// More connections than are allowed.
public struct ConnectionLimitReached: Error, Hashable, Sendable, CustomStringConvertible {
    /// The limit.
    public let limit: Int
    /// Whether that is for one address, or for all.
    public let isPerPeer: Bool

    /// A sentence.
    public var description: String {
        "\(isPerPeer ? "the peer's address" : "the port") has \(limit) connections already"
    }
}

extension ConnectionLimitReached: PeerRefusal {}

/// Refuses clients of a port beyond a limit.
///
/// A client beyond the total is refused before anything is made for it, also while others are still
/// agreeing on their filters' terms. One beyond its address's share is reset when its address is
/// known, which behind a ``ProxyHeaderReader`` is that of the proxy's client; its protocol is not
/// called.
///
///     try endpoint.limited(to: ConnectionLimits(total: 10_000)).listen(on: reactor) { Chat(room) }
///
/// To look at the counts keep one, and let it observe the port:
///
///     let limiter = ConnectionLimiter(ConnectionLimits(total: 10_000))
///     try endpoint.listen(on: reactor) { Chat(room) }.observe(by: limiter)
///
/// - Complexity: O(1) for each connection.
/// - SeeAlso: Twisted `twisted.protocols.policies.LimitTotalConnectionsFactory`,
///   `LimitConnectionsByPeer`.
public final class ConnectionLimiter: PortObserver {
    /// The limits.
    public let limits: ConnectionLimits

    /// Connections that there are now, those that are still handshaking included.
    public var connectionCount: Int { table.total }

    /// Clients that were refused so far.
    public private(set) var refusedCount = 0

    private let refused: ((ConnectionLimitReached, SocketAddress) -> Void)?
    private let table = ConnectionTable()

    /// Limits for one port.
    ///
    /// - Parameters:
    ///   - limits: How many connections there may be.
    ///   - refused: Called with each client that is refused.
    public init(
        _ limits: ConnectionLimits,
        refused: ((ConnectionLimitReached, SocketAddress) -> Void)? = nil
    ) {
        self.limits = limits
        self.refused = refused
    }

    /// Counts a client, unless there are too many.
    ///
    /// - Parameter peer: The client's address.
    /// - Returns: An observer that counts the connection until it is lost.
    /// - Throws: ``ConnectionLimitReached`` if there are too many.
    public func clientArrived(from peer: SocketAddress) throws -> (any ConnectionObserver)? {
        if let limit = limits.total, table.total >= limit {
            let error = ConnectionLimitReached(limit: limit, isPerPeer: false)
            refuse(error, peer)
            throw error
        }
        return LimitedConnection(self, Seat(in: table))
    }

    /// Asserts what must hold between events: what is counted is there, and within the limits.
    ///
    /// For simulations, after each step. O(*n*) in the peers that have a connection.
    public func checkInvariants() {
        require(
            (0...table.seatCount).contains(table.total),
            "ConnectionLimiter: \(table.total) connections are counted, \(table.seatCount) exist")
        require(
            table.total <= limits.total ?? .max,
            "ConnectionLimiter: \(table.total) connections are more than the limit")
        let counts = table.perPeer.values
        require(
            counts.allSatisfy { (1...(limits.perPeer ?? .max)).contains($0) },
            "ConnectionLimiter: a peer has none, or more connections than its limit")
        require(
            counts.reduce(0, +) <= table.total,
            "ConnectionLimiter: peers have \(counts.reduce(0, +)) of \(table.total) connections")
    }

    /// Counts a connection for its peer's address.
    ///
    /// - Throws: ``ConnectionLimitReached``.
    fileprivate func admit(_ seat: Seat, _ peer: SocketAddress) throws(ConnectionLimitReached) {
        guard let limit = limits.perPeer, let key = PeerKey(peer) else { return }
        guard table.perPeer[key, default: 0] < limit else {
            let error = ConnectionLimitReached(limit: limit, isPerPeer: true)
            refuse(error, peer)
            throw error
        }
        seat.count(for: key)
    }

    private func refuse(_ error: ConnectionLimitReached, _ peer: SocketAddress) {
        refusedCount += 1
        refused?(error, peer)
    }
}

/// What counts as one peer.
private enum PeerKey: Hashable {
    case ipv4(IPv4Address)
    case ipv6(IPv6Address)

    init?(_ address: SocketAddress) {
        switch address {
        case .ipv4(let address, _): self = .ipv4(address)
        case .ipv6(let address, _):
            self = address.mappedIPv4.map { .ipv4($0) } ?? .ipv6(address.masked(to: 64))
        case .unix, .descriptor: return nil
        }
    }
}

private final class ConnectionTable {
    var total = 0
    /// Seats that exist, those that were given back included.
    var seatCount = 0
    /// Only of peers that have a connection.
    var perPeer: [PeerKey: Int] = [:]
}

/// A connection's place in the table, which it gives back when it is lost, or released without
/// ever having been made.
private final class Seat {
    private let table: ConnectionTable
    private var key: PeerKey?
    private(set) var isTaken = true

    init(in table: ConnectionTable) {
        self.table = table
        table.total += 1
        table.seatCount += 1
    }

    deinit {
        giveBack()
        table.seatCount -= 1
    }

    func count(for key: PeerKey) {
        self.key = key
        table.perPeer[key, default: 0] += 1
    }

    func giveBack() {
        guard isTaken else { return }
        isTaken = false
        table.total -= 1
        guard let key, let count = table.perPeer[key] else { return }
        table.perPeer[key] = count > 1 ? count - 1 : nil
    }
}

/// Holds the seat as long as the connection, or the attempt to agree on its terms, is there.
private final class LimitedConnection: ConnectionObserver, InvariantChecking {
    private let limiter: ConnectionLimiter
    private let seat: Seat

    init(_ limiter: ConnectionLimiter, _ seat: Seat) {
        self.limiter = limiter
        self.seat = seat
    }

    func connectionMade(_ transport: any StreamTransport) throws {
        try limiter.admit(seat, transport.peerAddress)
    }

    func didLose(_ why: ConnectionLoss, of transport: any StreamTransport) { seat.giveBack() }

    func checkInvariants() {
        require(seat.isTaken, "ConnectionLimiter: a connection is not counted")
    }
}
