// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

#if TLS

internal import CTorsionTLS
public import TorsionCore

/// A parsed certificate: of a peer, from `transport.security?.peerCertificate`.
///
/// Texts are printable ASCII; what else a certificate has in them is `?`. A plain value, usable on any
/// thread.
public struct TLSCertificate: Hashable, Sendable {
    /// Whom it is for: "CN=a.test".
    public let subject: String

    /// The name of its signer.
    public let issuer: String

    /// The names and addresses of servers that it is for; at most 300 characters of them.
    public let serverNames: [String]

    /// When it begins to be valid: "2026-01-01T00:00:00Z".
    public let notBefore: String

    /// The last second in which it is valid.
    public let notAfter: String

    /// SHA-256 of the certificate, 32 bytes.
    public let digest: Bytes

    /// Reads a certificate.
    ///
    /// - Parameter der: Exactly one certificate.
    /// - Throws: ``TLSError`` for bytes that are not a certificate.
    public init(der: Bytes) throws(TLSError) {
        var said = torsion_tls_failure()
        var digest = [UInt8](repeating: 0, count: 32)
        let isRead = der.withUnsafeBytes { bytes in
            bytes.withMemoryRebound(to: UInt8.self) { bytes in
                guard let start = bytes.baseAddress else { return false }
                return torsion_tls_describe_der(start, bytes.count, &said, &digest) == 1
            }
        }
        guard isRead else { throw TLSError(.unusableConfiguration, "it is no certificate") }
        subject = said.words(\.subject)
        issuer = said.words(\.issuer)
        serverNames = said.words(\.names).split(separator: ", ").map(String.init)
        notBefore = said.words(\.not_before)
        notAfter = said.words(\.not_after)
        self.digest = Bytes(digest)
    }
}

/// A key and a certificate that it signs itself, for trying out.
///
///     let trial = try SelfSignedIdentity()
///     var client = TLSClient()
///     client.roots = try .pem(trial.certificate)
///
/// It is proof only for a peer that has been given the certificate by other means. Valid for 30
/// days. A plain value, usable on any thread.
public struct SelfSignedIdentity: Sendable {
    /// PEM.
    public let certificate: String

    /// PEM, unencrypted.
    public let key: String

    /// For a server or a client.
    public let identity: TLSIdentity

    /// Makes a new key, of the curve P-256.
    ///
    /// - Parameters:
    ///   - names: Names and addresses of the server.
    ///   - now: Seconds since 1970; `nil` is the machine's time.
    /// - Throws: ``TLSError`` for a malformed name, or when memory is short.
    /// - Complexity: A tenth of a millisecond.
    public init(
        names: [String] = ["localhost", "127.0.0.1", "::1"], now: Int64? = nil
    ) throws(TLSError) {
        try self.init(names: names, now: now, isEd25519: false)
    }

    /// With a key whose signatures are all of one length, as a simulation needs it.
    package init(names: [String], now: Int64?, isEd25519: Bool) throws(TLSError) {
        var list: [String] = []
        for name in names {
            let name = try validServerName(name)
            guard !name.contains(",") else {
                throw TLSError(.unusableConfiguration, "a server's name has no comma")
            }
            list.append((torsion_tls_is_address(name) == 1 ? "IP:" : "DNS:") + name)
        }
        var failure = torsion_tls_failure()
        var isMade = false
        var texts: (certificate: UnsafeMutablePointer<UInt8>?, key: UnsafeMutablePointer<UInt8>?)
        var counts = (certificate: 0, key: 0)
        texts = (nil, nil)
        isMade =
            torsion_tls_self_signed(
                list.joined(separator: ","), now ?? torsion_tls_wall_seconds(), isEd25519 ? 1 : 0,
                &texts.certificate,
                &counts.certificate, &texts.key, &counts.key, &failure) == 1
        defer {
            torsion_tls_free_bytes(texts.certificate, counts.certificate)
            torsion_tls_free_bytes(texts.key, counts.key)
        }
        guard isMade else { throw TLSError(failure) }
        certificate = String(
            decoding: UnsafeBufferPointer(start: texts.certificate, count: counts.certificate),
            as: UTF8.self)
        key = String(
            decoding: UnsafeBufferPointer(start: texts.key, count: counts.key), as: UTF8.self)
        identity = try .pem(certificates: certificate, key: key)
    }
}

#endif
