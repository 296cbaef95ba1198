// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

public import TorsionCore

/// The answer to a question, and its source.
public struct DNSAnswer: Hashable, Sendable {
    /// The question.
    public var question: DNSQuestion
    /// The records of the type that was asked for, at least one, with their TTLs when they arrived.
    public var records: [DNSRecord]
    /// The names on the way, if the name that was asked for stands for another: the last is the one
    /// that has the records.
    public var aliases: [DNSName]
    /// The server that said so.
    public var server: SocketAddress
    /// Whether it came over TCP, since it did not fit into a datagram or the server was in doubt.
    public var isOverTCP: Bool
    /// Whether it was remembered.
    public var isCached = false
}

/// Why a question was not answered.
public struct DNSLookupError: Error, Hashable, Sendable, CustomStringConvertible {
    /// The question.
    public var question: DNSQuestion
    /// The reason.
    public var reason: Reason
    /// The server that said so last; nil if all were silent.
    public var server: SocketAddress?
    /// How long it may be kept that there is nothing, in seconds (RFC 2308 §5); nil keeps nothing.
    var negativeTTLSeconds: UInt32?

    /// The reason.
    @nonexhaustive
    public enum Reason: Hashable, Sendable {
        /// The name does not exist: `NXDOMAIN`.
        case noSuchName
        /// The name exists, without records of this type.
        case noRecords
        /// The servers did not answer in time.
        case timedOut
        /// All servers failed: the code of the last.
        case serverFailure(DNSResponseCode)
        /// The names lead in a circle, or further than 16 aliases.
        case aliasLoop
        /// An answer could not be read, and the other servers did not give one.
        case unreadable
        /// The servers could not be asked.
        case unreachable(ErrorCode)
    }

    /// One sentence: `example.org. A: no such name, says 192.0.2.53:53`.
    public var description: String {
        let text =
            switch reason {
            case .noSuchName: "no such name"
            case .noRecords: "no records of this type"
            case .timedOut: "no server answered in time"
            case .serverFailure(let code): "no server could say (\(code))"
            case .aliasLoop: "the aliases lead nowhere"
            case .unreadable: "the answer could not be read"
            case .unreachable(let code): "no server could be asked: \(code)"
            }
        let word = reason == .unreadable ? "it came from" : "says"
        return "\(question): \(text)" + (server.map { ", \(word) \($0)" } ?? "")
    }

    /// The code by which `getaddrinfo(3)` says the same.
    public var code: ErrorCode {
        switch reason {
        case .noSuchName: .hostNotFound
        case .noRecords: .noAddress
        case .timedOut: .timedOut
        case .serverFailure, .unreadable, .unreachable: .resolverUnavailable
        case .aliasLoop: .resolverFailed
        }
    }
}
