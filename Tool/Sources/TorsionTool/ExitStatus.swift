// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

internal import Torsion
internal import TorsionDNS
internal import TorsionHTTP
internal import TorsionTLS
internal import TorsionWebSocket

/// An error with a word more about another one.
protocol CausedError: Error {
    var cause: any Error { get }
}

/// An error that does not say where it happened, with the place.
struct PlacedError: CausedError, CustomStringConvertible {
    let place: String
    let cause: any Error

    init(_ place: String, _ cause: any Error) {
        self.place = place
        self.cause = cause
    }

    /// The error, with the place if it needs that: a failed call names its own.
    static func of(_ error: any Error, at place: String) -> any Error {
        switch error {
        case is TLSError, is TimeoutError: PlacedError(place, error)
        case ConnectionLoss.failed: error
        case ConnectionLoss.protocolFailed(let inner):
            inner is TLSError ? PlacedError(place, inner) : error
        case is ConnectionLoss: PlacedError(place, error)
        default: error
        }
    }

    var description: String { "\(place): \(cause)" }
}

/// With which status the command ends: the table of `torsion --help`.
enum ExitStatus {
    static let failed: Int32 = 1
    static let protocolBroken: Int32 = 2
    /// `EX_USAGE` of `sysexits.h`.
    static let usage: Int32 = 64
    /// `EX_UNAVAILABLE` of `sysexits.h`.
    static let unavailable: Int32 = 69

    static func of(_ error: any Error) -> Int32 {
        switch error {
        case let error as any CausedError: of(error.cause)
        case let loss as ConnectionLoss: of(loss)
        case let loss as WebSocketLoss: of(loss.cause)
        case let error as IOError:
            error.operation == .connect || error.operation == .resolve ? unavailable : failed
        case let error as DNSLookupError: of(error.reason)
        case let error as TLSError:
            error.cause == .notTLS || error.cause == .protocolViolation ? protocolBroken : failed
        case is TimeoutError: unavailable
        case let error as ResponseError: error == .truncated ? failed : protocolBroken
        case is WebSocketError: protocolBroken
        case let error as WebSocketHandshakeError: of(error)
        default: failed
        }
    }

    private static func of(_ loss: ConnectionLoss) -> Int32 {
        switch loss {
        case .protocolFailed(let error): of(error)
        default: failed
        }
    }

    private static func of(_ reason: DNSLookupError.Reason) -> Int32 {
        switch reason {
        case .unreadable: protocolBroken
        case .timedOut, .unreachable, .serverFailure: unavailable
        default: failed
        }
    }

    private static func of(_ error: WebSocketHandshakeError) -> Int32 {
        switch error {
        case .notWebSocket, .wrongKey, .unwantedExtension, .unwantedSubprotocol: protocolBroken
        default: failed
        }
    }
}
