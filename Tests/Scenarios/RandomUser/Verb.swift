// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

public import Synchronization

/// Where a random user is called.
enum Callback: String, CaseIterable {
    case factory, connectionMade, dataReceived, readConnectionLost, writeConnectionLost
    case connectionLost, shutdownRequested
    /// `connectionMade` of a protocol that takes over.
    case takeOver
    case pauseProducing, resumeProducing, stopProducing, produceMore
    case connected, connectFailed, delayedCall, job

    /// Whether what it throws ends a connection.
    var mayThrow: Bool {
        switch self {
        case .factory, .connectionMade, .dataReceived, .readConnectionLost, .writeConnectionLost,
            .takeOver:
            true
        default: false
        }
    }

    /// Whether it is called so seldom that more is done there, and each verb as often as another.
    var isRare: Bool {
        switch self {
        case .readConnectionLost, .writeConnectionLost, .shutdownRequested: true
        default: false
        }
    }
}

/// What it does there.
enum Verb: String, CaseIterable {
    case writeLittle, writeMuch, writeBytes
    case pause, resume, unread, switchProtocol
    case registerPush, registerLooping, registerPull, unregister
    case loseConnection, loseWriteConnection, abort, abortBecause, throwError
    case connect, connectNowhere, listen, stopListening
    case callLater, spawn, setWatermarks, dropReference
    case stop

    /// How often, to one another: what ends something is rare, so that much happens before.
    var weight: Int {
        switch self {
        case .writeLittle, .writeMuch, .writeBytes: 12
        case .pause, .resume, .registerPush, .registerLooping, .registerPull, .unregister: 8
        case .unread, .switchProtocol, .callLater: 6
        case .setWatermarks, .connect, .spawn, .dropReference: 3
        case .loseConnection, .loseWriteConnection, .connectNowhere, .listen, .stopListening: 2
        case .abort, .abortBecause, .throwError, .stop: 1
        }
    }
}

/// Which pairs of the two have happened.
public struct RandomUserCoverage: Sendable {
    /// In all simulated runs of this process.
    public static let simulated = Mutex(RandomUserCoverage())

    private var counts: [String: Int] = [:]

    /// None yet.
    public init() {}

    mutating func count(_ verb: Verb, in callback: Callback) {
        counts["\(callback).\(verb)", default: 0] += 1
    }

    /// Adds what another run has seen.
    public mutating func add(_ other: RandomUserCoverage) {
        counts.merge(other.counts, uniquingKeysWith: +)
    }

    /// The pairs that can happen and have not.
    public var missing: [String] {
        Callback.allCases.flatMap { callback in
            Verb.allCases.filter { $0 != .throwError || callback.mayThrow }
                .map { "\(callback).\($0)" }
        }
        .filter { counts[$0] == nil }
    }

    /// How many pairs were counted altogether.
    public var total: Int { counts.values.reduce(0, +) }
}
