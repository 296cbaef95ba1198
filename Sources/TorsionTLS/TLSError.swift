// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

#if TLS

internal import CTorsionTLS
public import TorsionCore

/// Why a TLS connection was not made, or was broken: the cause as a value and as a sentence.
///
///     the certificate "CN=a.test" is for a.test, and not for b.test
///
/// A connect fails with it; a connection that was made is lost by
/// `ConnectionLoss/protocolFailed(_:)` with it; a server's port calls
/// `PortObserver.handshakeFailed`. Text of the peer in it is printable ASCII. A plain value, usable
/// on any thread.
public struct TLSError: Error, Hashable, Sendable {
    /// The kinds of errors that a program may tell apart.
    @nonexhaustive
    public enum Cause: Hashable, Sendable {
        /// The peer's certificate is not signed by an authority that is trusted here, or may not be
        /// used so.
        case certificateNotTrusted
        /// The peer's certificate is for another name.
        case wrongName
        /// The peer's certificate has expired, or is not valid yet.
        case outsideValidity
        /// A required certificate of the client is missing.
        case noCertificate
        /// The peer refused: RFC 8446 §6, for example 42 for a bad certificate.
        case refusedByPeer(alert: UInt8)
        /// A check of this program refused the peer, or did not choose a configuration for it.
        case refusedHere
        /// Both sides lack a common application protocol.
        case noApplicationProtocol
        /// The bytes are not TLS.
        case notTLS
        /// The peer broke a rule, a record was changed on its way, or both lack a common version or
        /// cipher.
        case protocolViolation
        /// The peer sent too many messages without data for the program.
        case tooManyMessages
        /// A certificate, a key, a name or a setting of this side cannot be used.
        case unusableConfiguration
        /// Memory is short.
        case outOfMemory
    }

    /// The error.
    public var cause: Cause

    /// The error as a clause, without a full stop.
    public var sentence: String

    init(_ cause: Cause, _ sentence: String) {
        self.cause = cause
        self.sentence = sentence
    }
}

extension TLSError: CustomStringConvertible {
    /// One line for a log.
    public var description: String { sentence }
}

/// A client that is refused is every port's lot: counted, and not reported as an error of the program.
extension TLSError: PeerRefusal {}

extension TLSError {
    /// What OpenSSL says of a call that failed.
    ///
    /// `serverName`: what a client has asked for.
    init(_ failure: torsion_tls_failure, serverName: String? = nil) {
        let text = failure.words(\.text)
        let certificate = "the certificate \"\(failure.words(\.subject))\""
        switch UInt32(bitPattern: failure.kind) {
        case TORSION_TLS_KIND_CERTIFICATE.rawValue:
            let issuer = failure.words(\.issuer)
            self.init(
                .certificateNotTrusted,
                "\(certificate), issued by \"\(issuer)\", was refused: \(text)")
        case TORSION_TLS_KIND_NAME.rawValue:
            let names = failure.words(\.names)
            let holder = names.isEmpty ? "names no server" : "is for \(names)"
            self.init(
                .wrongName, "\(certificate) \(holder), and not for \(serverName ?? "this peer")")
        case TORSION_TLS_KIND_DATE.rawValue:
            let (first, last) = (failure.words(\.not_before), failure.words(\.not_after))
            self.init(
                .outsideValidity, "\(certificate) is valid from \(first) to \(last): \(text)")
        case TORSION_TLS_KIND_ALERT.rawValue:
            let name = String(cString: torsion_tls_alert_name(failure.alert))
            self.init(
                .refusedByPeer(alert: UInt8(truncatingIfNeeded: failure.alert)),
                "the peer refused: \(name) (alert \(failure.alert))")
        case TORSION_TLS_KIND_NOT_TLS.rawValue:
            self.init(.notTLS, "what arrived is no TLS: \(text)")
        case TORSION_TLS_KIND_APPLICATION.rawValue:
            self.init(.noApplicationProtocol, "no application protocol in common with the peer")
        case TORSION_TLS_KIND_NO_CERTIFICATE.rawValue:
            self.init(.noCertificate, "the client showed no certificate")
        case TORSION_TLS_KIND_MATERIAL.rawValue:
            self.init(.unusableConfiguration, text)
        case TORSION_TLS_KIND_MEMORY.rawValue:
            self.init(.outOfMemory, "there is no memory")
        default:
            self.init(.protocolViolation, "the TLS protocol failed: \(text)")
        }
    }
}

extension torsion_tls_failure {
    /// One of its texts, up to the first zero.
    func words<Text>(_ path: KeyPath<torsion_tls_failure, Text>) -> String {
        var text = self[keyPath: path]
        return withUnsafeBytes(of: &text) { String(decoding: $0.prefix { $0 != 0 }, as: UTF8.self) }
    }
}

#endif
