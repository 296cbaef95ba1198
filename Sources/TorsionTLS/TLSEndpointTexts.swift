// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

#if TLS

internal import Synchronization
public import TorsionCore

extension EndpointParser {
    /// The same with the type `tls`, for servers and for clients.
    ///
    /// Servers are written as `tls:PORT:certificate=FILE:key=FILE`, clients as `tls:HOST:PORT`:
    ///
    ///     tls:443:certificate=cert.pem:key=key.pem:clientca=clients.pem:alpn=h2,http/1.1
    ///     tls:example.org:443:alpn=h2
    ///
    /// Of servers `certificate` is a PEM file with the certificate and its chain, `key` one with
    /// the private key, by default the same; `clientca` one with the authorities to which a
    /// client's certificate has to lead. Of clients `name` is the server's name where that is not
    /// the host, `roots` a PEM file of authorities in place of the system's, `certificate` and
    /// `key` what the client shows. `alpn` of both lists application protocols, the preferred
    /// first. The options of `tcp` are there as well: `interface`, `backlog`, `timeout`.
    ///
    /// Files are read when the text is parsed.
    ///
    /// - Parameters:
    ///   - sources: Gets the certificates that are read, so that they can be read again.
    ///   - identity: Of a server whose text lacks a certificate; without one that is an error.
    /// - Returns: A parser that knows the type as well.
    public func addingTLS(
        loading sources: CertificateSources = CertificateSources(),
        else identity: TLSIdentity? = nil
    ) -> EndpointParser {
        adding(
            server: "tls", example: "tls:443:certificate=cert.pem:key=key.pem"
        ) { arguments in
            let endpoint = try ServerEndpoint.tcp(reading: &arguments)
            var server = TLSServer(try sources.identity(&arguments, else: identity))
            if let file = arguments.option("clientca") {
                server.clientCertificates = .required(try .file(file))
            }
            server.applicationProtocols = arguments.applicationProtocols()
            return try endpoint.tls(server)
        }.adding(client: "tls", example: "tls:example.org:443") { arguments in
            var host = arguments
            let name = try arguments.option("name") ?? bare(host.argument("host"))
            let endpoint = try ClientEndpoint.tcp(reading: &arguments)
            var client = TLSClient()
            if let file = arguments.option("roots") { client.roots = try .file(file) }
            client.identity = try sources.identity(&arguments)
            client.applicationProtocols = arguments.applicationProtocols()
            return try endpoint.tls(client, serverName: name)
        }
    }
}

/// An address as certificates have it.
private func bare(_ host: String) -> String {
    host.hasPrefix("[") && host.hasSuffix("]") ? String(host.dropFirst().dropLast()) : host
}

extension EndpointArguments {
    fileprivate mutating func applicationProtocols() -> [String] {
        option("alpn").map { $0.split(separator: ",").map(String.init) } ?? []
    }
}

/// The certificates that endpoints' texts have named, to be read again together.
///
///     let sources = CertificateSources()
///     let endpoint = try EndpointParser.standard.addingTLS(loading: sources).server(parsing: text)
///     // Later, for example at SIGHUP:
///     try sources.reload()
///
/// ``reloadWhenChanged(on:gathering:_:)`` does so by itself. It releases those that are not used
/// any more. Usable on any thread.
public final class CertificateSources: Sendable {
    private struct Entry {
        weak var source: CertificateSource?
    }

    private let entries = Mutex<[Entry]>([])

    /// Makes an empty value.
    public init() {}

    private var all: [CertificateSource] {
        entries.withLock { entries in
            entries.removeAll { $0.source == nil }
            return entries.compactMap(\.source)
        }
    }

    /// Whether it is empty.
    public var isEmpty: Bool { all.isEmpty }

    /// Reads each again, and uses what they have from the next connection on.
    ///
    /// Waits for the disk.
    ///
    /// - Throws: The first ``TLSError``, when all others have been read. A source that cannot be
    ///   read keeps its former identity.
    public func reload() throws(TLSError) {
        var failure: TLSError?
        for source in all {
            do { try source.reload() } catch { failure = failure ?? error }
        }
        if let failure { throw failure }
    }

    /// Reads all of them again whenever the files of one have changed: see
    /// ``CertificateSource/reloadWhenChanged(on:gathering:_:)``.
    ///
    /// - Parameters:
    ///   - reactor: Where the files are watched, until the watch is cancelled or the run ends,
    ///     either of which releases the sources.
    ///   - pause: How long the files have to be quiet.
    ///   - told: Called on the reactor behind each reading, with the first error that it met; by
    ///     default an error goes to `Reactor/unhandledError`.
    /// - Returns: The watch; nil if the texts so far are without files.
    /// - Throws: `IOError` of operation `watch`.
    @discardableResult
    public func reloadWhenChanged(
        on reactor: Reactor, gathering pause: Duration = .milliseconds(200),
        _ told: ((TLSError?) -> Void)? = nil
    ) throws(IOError) -> FileWatch? {
        let paths = Set(all.flatMap(\.paths)).sorted()
        guard !paths.isEmpty else { return nil }
        return try FileWatch(of: paths, gathering: pause, on: reactor) { [self] _ in
            var failure: TLSError?
            do throws(TLSError) { try reload() } catch { failure = error }
            if let told { told(failure) } else if let failure { throw failure }
        }
    }

    private func open(_ certificate: String, _ key: String?) throws(TLSError) -> TLSIdentity {
        let source = try CertificateSource(certificate: certificate, key: key ?? certificate)
        entries.withLock { $0.append(Entry(source: source)) }
        return .following(source)
    }

    /// What a server's text names, or else what there is for it.
    fileprivate func identity(
        _ arguments: inout EndpointArguments, else identity: TLSIdentity?
    ) throws -> TLSIdentity {
        if let named = try self.identity(&arguments) { return named }
        if let identity { return identity }
        // Says what is missing.
        return try open(try arguments.argument("certificate"), nil)
    }

    /// What a client's text names.
    fileprivate func identity(_ arguments: inout EndpointArguments) throws -> TLSIdentity? {
        let (certificate, key) = (arguments.option("certificate"), arguments.option("key"))
        if let certificate { return try open(certificate, key) }
        guard key == nil else {
            throw TLSError(.unusableConfiguration, "there is a key without its certificate")
        }
        return nil
    }
}

#endif
