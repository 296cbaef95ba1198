// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

#if TLS

internal import CTorsionTLS
internal import TorsionCore

/// The identity of one side: its certificate, those of the authorities between it and a root, and
/// its private key.
///
///     let identity = try TLSIdentity.files(certificate: "/etc/tls/cert.pem", key: "/etc/tls/key.pem")
///
/// Read once, when it is made; ``following(_:)`` makes one that can be read again. Usable on any
/// thread.
public struct TLSIdentity: Sendable {
    private enum Content {
        case fixed(IdentityBox)
        case source(CertificateSource)
    }

    private let content: Content

    private init(_ box: IdentityBox) { content = .fixed(box) }

    private init(_ source: CertificateSource) { content = .source(source) }

    /// The identity of a source, for each connection anew.
    ///
    /// - Parameter source: Can be reloaded, and replaced.
    /// - Returns: The identity.
    public static func following(_ source: CertificateSource) -> TLSIdentity {
        TLSIdentity(source)
    }

    /// What it is now, and a number that is greater when it was changed; 0 if it never is.
    var latest: (identity: IdentityBox, generation: Int) {
        switch content {
        case .fixed(let box): (box, 0)
        case .source(let source): source.latest
        }
    }

    /// Reads PEM files.
    ///
    /// - Parameters:
    ///   - certificate: A file with the certificate first, and its chain behind it.
    ///   - key: A file with the private key, which may be the same.
    ///   - passphrase: Of the key, if it is encrypted.
    /// - Returns: The identity.
    /// - Throws: ``TLSError`` that names the file, if one cannot be read or used.
    public static func files(
        certificate: String, key: String, passphrase: String? = nil
    ) throws(TLSError) -> TLSIdentity {
        TLSIdentity(try box(certificate: certificate, key: key, passphrase: passphrase))
    }

    static func box(
        certificate: String, key: String, passphrase: String?
    ) throws(TLSError) -> IdentityBox {
        let certificates = try PEMBytes(path: certificate)
        let keys = try PEMBytes(path: key)
        do {
            return try IdentityBox(certificates, keys, passphrase)
        } catch {
            throw TLSError(error.cause, "\(certificate), \(key): \(error.sentence)")
        }
    }

    /// Takes PEM text from memory.
    ///
    /// - Parameters:
    ///   - certificates: The certificate first, and its chain behind it.
    ///   - key: The private key.
    ///   - passphrase: Of the key, if it is encrypted.
    /// - Returns: The identity.
    /// - Throws: ``TLSError`` if it cannot be used.
    public static func pem(
        certificates: String, key: String, passphrase: String? = nil
    ) throws(TLSError) -> TLSIdentity {
        TLSIdentity(try IdentityBox(PEMBytes(certificates), PEMBytes(key), passphrase))
    }
}

/// The authorities that a peer's certificate may lead to.
///
/// Usable on any thread.
public struct TLSRoots: Sendable {
    /// `nil` for the system's.
    let box: RootsBox?

    /// Those that the system trusts: OpenSSL's folder, on Debian `/etc/ssl/certs`.
    ///
    /// The environment variables `SSL_CERT_FILE` and `SSL_CERT_DIR` name others.
    public static let system = TLSRoots(box: nil)

    /// Only those of a PEM file.
    ///
    /// - Parameter path: Of a file with one certificate or more.
    /// - Returns: Roots that a peer's chain must lead to.
    /// - Throws: ``TLSError`` that names the file, if it cannot be read or used.
    public static func file(_ path: String) throws(TLSError) -> TLSRoots {
        let bytes = try PEMBytes(path: path)
        do {
            return TLSRoots(box: try RootsBox(bytes))
        } catch {
            throw TLSError(error.cause, "\(path): \(error.sentence)")
        }
    }

    /// Only those of a PEM text.
    ///
    /// - Parameter certificates: One certificate or more.
    /// - Returns: Roots that a peer's chain must lead to.
    /// - Throws: ``TLSError`` if it cannot be used.
    public static func pem(_ certificates: String) throws(TLSError) -> TLSRoots {
        TLSRoots(box: try RootsBox(PEMBytes(certificates)))
    }
}

/// OpenSSL's objects for an identity.
///
/// `@unchecked`: nothing changes them once they are made, and their counts of references are atomic,
/// so that any thread may use them.
final class IdentityBox: @unchecked Sendable {
    let raw: OpaquePointer

    init(_ certificates: PEMBytes, _ key: PEMBytes, _ passphrase: String?) throws(TLSError) {
        var failure = torsion_tls_failure()
        let made = certificates.withBytes { first, firstCount in
            key.withBytes { second, secondCount in
                withOptionalCString(passphrase) {
                    torsion_tls_identity_new(first, firstCount, second, secondCount, $0, &failure)
                }
            }
        }
        guard let made else { throw TLSError(failure) }
        raw = made
    }

    deinit { torsion_tls_identity_free(raw) }
}

/// As ``IdentityBox``, for authorities.
final class RootsBox: @unchecked Sendable {
    let raw: OpaquePointer

    init(_ certificates: PEMBytes) throws(TLSError) {
        var failure = torsion_tls_failure()
        let made = certificates.withBytes { torsion_tls_roots_new($0, $1, &failure) }
        guard let made else { throw TLSError(failure) }
        raw = made
    }

    deinit { torsion_tls_roots_free(raw) }
}

/// A text that may hold a key: of a file, then overwritten at its end; or of the program.
final class PEMBytes {
    private var file: UnsafeMutablePointer<UInt8>?
    private var count = 0
    private var text: [UInt8] = []

    init(_ text: String) { self.text = Array(text.utf8) }

    init(path: String) throws(TLSError) {
        let code = torsion_tls_read_file(path, &file, &count)
        guard code == 0 else {
            let reason = String(cString: torsion_tls_errno_text(code))
            throw TLSError(.unusableConfiguration, "cannot read \(path): \(reason)")
        }
    }

    deinit { torsion_tls_free_bytes(file, count) }

    func withBytes<Result>(_ body: (UnsafePointer<UInt8>, Int) -> Result) -> Result {
        if let file { return body(file, count) }
        // An empty array has no address, and C wants one.
        return (text + [0]).withUnsafeBufferPointer { body($0.baseAddress!, text.count) }
    }
}

func withOptionalCString<Result>(
    _ text: String?, _ body: (UnsafePointer<CChar>?) -> Result
) -> Result {
    guard let text else { return body(nil) }
    return text.withCString(body)
}

#endif
