// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

#if TLS

internal import Synchronization

/// A certificate and its key that can be replaced while servers and clients use them.
///
///     let certificates = try CertificateSource(certificate: "cert.pem", key: "key.pem")
///     try ServerEndpoint.tcp(port: 443).tls(TLSServer(certificates)).listen(on: reactor) { Echo() }
///     try certificates.reload()
///
/// Each new connection uses the latest, on every reactor; those that are open keep what they have.
/// Usable on any thread.
public final class CertificateSource: Sendable {
    private struct Files {
        let certificate: String
        let key: String
        let passphrase: String?

        func read() throws(TLSError) -> IdentityBox {
            try TLSIdentity.box(certificate: certificate, key: key, passphrase: passphrase)
        }
    }

    private let files: Files?
    private let current: Mutex<(identity: IdentityBox, generation: Int)>

    /// One that has no files: ``replace(with:)`` changes it.
    ///
    /// - Parameter identity: The first.
    public init(_ identity: TLSIdentity) {
        files = nil
        current = Mutex((identity.latest.identity, 1))
    }

    /// Reads PEM files, now and at each ``reload()``.
    ///
    /// - Parameters:
    ///   - certificate: A file with the certificate first, and its chain behind it.
    ///   - key: A file with the private key, which may be the same.
    ///   - passphrase: Of the key, if it is encrypted.
    /// - Throws: ``TLSError`` that names the file, if one cannot be read or used.
    public init(
        certificate: String, key: String, passphrase: String? = nil
    ) throws(TLSError) {
        let files = Files(certificate: certificate, key: key, passphrase: passphrase)
        self.files = files
        current = Mutex((try files.read(), 1))
    }

    /// How often it has changed, beginning with 1.
    public var generation: Int { current.withLock { $0.generation } }

    /// Uses another identity from the next connection on.
    ///
    /// - Parameter identity: The next one; of another source, what that has now.
    public func replace(with identity: TLSIdentity) { put(identity.latest.identity) }

    /// Reads the files again, and uses what they have from the next connection on.
    ///
    /// Waits for the disk. A source without files does nothing.
    ///
    /// - Throws: ``TLSError`` that names the file. What was used before stays in use.
    public func reload() throws(TLSError) {
        if let files { put(try files.read()) }
    }

    private func put(_ identity: IdentityBox) {
        current.withLock { $0 = (identity, $0.generation + 1) }
    }

    var latest: (identity: IdentityBox, generation: Int) { current.withLock { $0 } }
}

#endif
