// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

#if TLS

internal import Synchronization
public import TorsionCore

/// A certificate and its key that can be replaced while servers and clients use them.
///
///     let certificates = try CertificateSource(certificate: "cert.pem", key: "key.pem")
///     try ServerEndpoint.tcp(port: 443).tls(TLSServer(certificates)).listen(on: reactor) { Echo() }
///     try certificates.reloadWhenChanged(on: reactor)
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

    /// One without files: ``replace(with:)`` changes it.
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
    /// Waits for the disk. A source without files ignores the call.
    ///
    /// - Throws: ``TLSError`` that names the file. The former identity stays in use.
    public func reload() throws(TLSError) {
        if let files { put(try files.read()) }
    }

    /// Reads the files again whenever they have changed, and uses what they have from the next
    /// connection on.
    ///
    /// Files that are replaced, one after the other, are read when they have been quiet for
    /// `pause`; so are those behind links that are made to lead elsewhere. If only one of two files
    /// has come, the pair cannot be used: this is reported, and the former identity stays in use.
    /// Waits for the disk when it reads. One reactor of a program is enough.
    ///
    /// - Parameters:
    ///   - reactor: Where the files are watched, until the watch is cancelled or the run ends.
    ///   - pause: How long the files have to be quiet.
    ///   - told: Called on the reactor after each reading, with its result; by default an error
    ///     goes to `Reactor/unhandledError`.
    /// - Returns: The watch.
    /// - Throws: `IOError` of operation `watch`.
    /// - Precondition: It has files.
    @discardableResult
    public func reloadWhenChanged(
        on reactor: Reactor, gathering pause: Duration = .milliseconds(200),
        _ told: ((TLSError?) -> Void)? = nil
    ) throws(IOError) -> FileWatch {
        require(
            !paths.isEmpty, "CertificateSource: reloadWhenChanged(on:) of a source without files")
        return try FileWatch(of: paths, gathering: pause, on: reactor) { [self] _ in
            var failure: TLSError?
            do throws(TLSError) { try reload() } catch { failure = error }
            if let told { told(failure) } else if let failure { throw failure }
        }
    }

    var paths: [String] {
        guard let files else { return [] }
        return files.key == files.certificate ? [files.key] : [files.certificate, files.key]
    }

    private func put(_ identity: IdentityBox) {
        current.withLock { $0 = (identity, $0.generation + 1) }
    }

    var latest: (identity: IdentityBox, generation: Int) { current.withLock { $0 } }
}

#endif
