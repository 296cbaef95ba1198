// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

/// Connections that were lost, by reason: the cases of ``ConnectionLoss``, the deadlines by their kind
/// and the failures by their code.
///
///     let losses = reactor.statistics.losses
///     print(losses.failures[.connectionReset], losses.deadlines.idle)
///
/// Each loss is one addition, and the sums are made when they are asked for.
public struct LossCounts: Hashable, Sendable {
    /// ``ConnectionLoss/closedByPeer``.
    public internal(set) var closedByPeer: UInt64 = 0
    /// ``ConnectionLoss/closedLocally``.
    public internal(set) var closedLocally: UInt64 = 0
    /// ``ConnectionLoss/aborted``.
    public internal(set) var aborted: UInt64 = 0
    /// ``ConnectionLoss/failed(_:)``, by the code of the error.
    public internal(set) var failures = FailureCounts()
    /// ``ConnectionLoss/truncated``.
    public internal(set) var truncated: UInt64 = 0
    /// ``ConnectionLoss/deadlinePassed(_:)``, by the deadline.
    public internal(set) var deadlines = DeadlineCounts()
    /// ``ConnectionLoss/writeLimitExceeded``.
    public internal(set) var writeLimitExceeded: UInt64 = 0
    /// ``ConnectionLoss/protocolFailed(_:)``.
    public internal(set) var protocolFailed: UInt64 = 0

    /// ``ConnectionLoss/failed(_:)``, whatever the code.
    public var failed: UInt64 { failures.total }

    /// ``ConnectionLoss/deadlinePassed(_:)``, whatever the deadline.
    public var deadlinePassed: UInt64 { deadlines.total }

    /// All of them.
    public var total: UInt64 {
        closedByPeer + closedLocally + aborted + failed + truncated + deadlinePassed
            + writeLimitExceeded + protocolFailed
    }

    mutating func add(_ loss: ConnectionLoss) {
        switch loss {
        case .closedByPeer: closedByPeer &+= 1
        case .closedLocally: closedLocally &+= 1
        case .aborted: aborted &+= 1
        case .failed(let error): failures.add(error.code)
        case .truncated: truncated &+= 1
        case .deadlinePassed(let deadline): deadlines.add(deadline)
        case .writeLimitExceeded: writeLimitExceeded &+= 1
        case .protocolFailed: protocolFailed &+= 1
        }
    }
}

/// Connections that took longer than allowed, by the deadline that they missed.
///
/// A peer that does not acknowledge what it is sent is not among them: the kernel gives it up, and the
/// loss is a failure of code ``ErrorCode/timedOut``.
public struct DeadlineCounts: Hashable, Sendable {
    /// ``ConnectionLoss/Deadline/handshaking``.
    public internal(set) var handshaking: UInt64 = 0
    /// ``ConnectionLoss/Deadline/request``.
    public internal(set) var request: UInt64 = 0
    /// ``ConnectionLoss/Deadline/idle``.
    public internal(set) var idle: UInt64 = 0
    /// ``ConnectionLoss/Deadline/halfClosed``.
    public internal(set) var halfClosed: UInt64 = 0
    /// ``ConnectionLoss/Deadline/closing``.
    public internal(set) var closing: UInt64 = 0

    /// All of them.
    public var total: UInt64 { handshaking + request + idle + halfClosed + closing }

    mutating func add(_ deadline: ConnectionLoss.Deadline) {
        switch deadline {
        case .handshaking: handshaking &+= 1
        case .request: request &+= 1
        case .idle: idle &+= 1
        case .halfClosed: halfClosed &+= 1
        case .closing: closing &+= 1
        }
    }
}

/// Connections that the network or the peer broke, by the code of the error.
///
/// At most ``codeLimit`` codes are kept apart, in the order in which they came first; what comes after
/// them is counted as ``others``.
public struct FailureCounts: Hashable, Sendable {
    /// One code, and how many connections were lost by it.
    public struct Entry: Hashable, Sendable {
        /// The code.
        public let code: ErrorCode
        /// How many there were.
        public internal(set) var count: UInt64
    }

    /// How many codes are kept apart.
    public static let codeLimit = 32

    /// The codes that there were, in the order in which they came first.
    ///
    /// Allocates at the first failure, and for a few later ones.
    public private(set) var entries: [Entry] = []
    /// Connections lost by a code beyond ``codeLimit``.
    public private(set) var others: UInt64 = 0

    /// All of them.
    public var total: UInt64 { entries.reduce(others) { $0 + $1.count } }

    /// How many connections were lost by a code.
    ///
    /// - Parameter code: Any code.
    /// - Returns: 0 also for one that came behind ``codeLimit`` others.
    public subscript(code: ErrorCode) -> UInt64 {
        entries.first { $0.code == code }?.count ?? 0
    }

    mutating func add(_ code: ErrorCode) {
        if let index = entries.firstIndex(where: { $0.code == code }) {
            entries[index].count &+= 1
        } else if entries.count < Self.codeLimit {
            entries.append(Entry(code: code, count: 1))
        } else {
            others &+= 1
        }
    }
}

extension LossCounts {
    /// The reasons that there were, for a list of them.
    ///
    /// The names are those of metrics and of `inspect()`: a reason such as "failed", and below it a
    /// deadline such as "idle", a code such as "ECONNRESET", or nothing.
    package var details: [(reason: String, detail: String, count: UInt64)] {
        var list: [(reason: String, detail: String, count: UInt64)] = [
            ("closed_by_peer", "", closedByPeer), ("closed_locally", "", closedLocally),
            ("aborted", "", aborted), ("truncated", "", truncated),
            ("write_limit_exceeded", "", writeLimitExceeded),
            ("protocol_failed", "", protocolFailed),
        ]
        list += deadlines.byName.map { ("deadline_passed", $0.name, $0.count) }
        list += failures.byName.map { ("failed", $0.name, $0.count) }
        return list.filter { $0.count > 0 }
    }
}

extension DeadlineCounts {
    var byName: [(name: String, count: UInt64)] {
        [
            ("handshaking", handshaking), ("request", request), ("idle", idle),
            ("half_closed", halfClosed), ("closing", closing),
        ]
    }
}

extension FailureCounts {
    var byName: [(name: String, count: UInt64)] {
        entries.map { ($0.code.name, $0.count) } + [("other", others)]
    }
}
