// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

public import TorsionCore

/// Where a client connects to a service of a domain: the hosts that SRV records name, RFC 2782.
///
///     let endpoint = ServiceEndpoint("_xmpp-client._tcp", of: "example.org")
///     endpoint.connect(on: reactor) { Greeter() }
///
/// A value, which can be used on any reactor, and often. The hosts are asked for at each connect, by
/// the reactor's ``DNSResolver``, and tried one after the other, each with all of its addresses.
public struct ServiceEndpoint: StreamClientEndpoint, CustomStringConvertible {
    /// The service and its protocol, as `_xmpp-client._tcp`.
    public let service: String
    /// Whose service.
    public let domain: String
    /// How the sockets are set up.
    public var options: StreamOptions

    private let resolver: DNSResolverMaker

    /// A service of a domain.
    ///
    /// - Parameters:
    ///   - service: The service and its protocol, each behind an underscore.
    ///   - domain: Whose service.
    ///   - options: How the sockets are set up.
    ///   - resolver: Which resolver of a reactor is asked where the service is: by default that of
    ///     this machine's configuration. The hosts that it names are looked up as all hosts are.
    public init(
        _ service: String, of domain: String, options: StreamOptions = StreamOptions(),
        by resolver: @escaping DNSResolverMaker = { $0.companion(of: DNSResolver.self) }
    ) {
        self.resolver = resolver
        self.service = service
        self.domain = domain
        self.options = options
    }

    /// The endpoint's text, as `srv:_xmpp-client._tcp:example.org`, without its options.
    public var description: String {
        "srv:\(EndpointParser.escaped(service)):\(EndpointParser.escaped(domain))"
    }

    /// Asks where the service is, and connects to the first place that answers.
    ///
    /// - Parameter reactor: Where the stream belongs; call this on its thread.
    /// - Returns: A Deferred for the stream, which gives up when it is cancelled. It fails with a
    ///   ``DNSLookupError``, or with the `IOError` of the last place.
    public func openStream(on reactor: Reactor) -> Deferred<ByteStream> {
        ServiceOpening(self, on: reactor).start(resolver(reactor))
    }
}

extension EndpointParser {
    /// The same with the type `srv` for clients: `srv:SERVICE:DOMAIN`.
    ///
    ///     srv:_xmpp-client._tcp:example.org
    ///     srv:_ldap._tcp:example.org:timeout=5
    ///
    /// `timeout=SECONDS` is for each attempt to connect.
    ///
    /// - Parameter resolver: Which resolver of a reactor is asked.
    /// - Returns: A parser that knows the type as well.
    public func addingServices(
        by resolver: @escaping DNSResolverMaker = { $0.companion(of: DNSResolver.self) }
    ) -> EndpointParser {
        adding(client: "srv", example: "srv:_xmpp-client._tcp:example.org") { arguments in
            let service = try arguments.argument("service")
            let domain = try arguments.argument("domain")
            guard service.split(separator: ".").allSatisfy({ $0.hasPrefix("_") }),
                DNSName("\(service).\(domain)") != nil
            else {
                throw EndpointError.invalid(
                    "service", value: "\(service).\(domain)",
                    allowed: "a service and a protocol, each behind an underscore, and a name")
            }
            var endpoint = ServiceEndpoint(service, of: domain, by: resolver)
            if let seconds = try arguments.option("timeout", in: 1...86_400) {
                endpoint.options.connectTimeout = .seconds(seconds)
            }
            return endpoint
        }
    }
}

/// Finds the resolver of a reactor.
public typealias DNSResolverMaker = @Sendable (Reactor) -> DNSResolver

/// One connect to a service, kept alive by what it waits for.
private final class ServiceOpening {
    private let endpoint: ServiceEndpoint
    private let reactor: Reactor
    private var places: ArraySlice<DNSService> = []
    private var waiting: AnyDeferred?
    private var result: Deferred<ByteStream>?

    init(_ endpoint: ServiceEndpoint, on reactor: Reactor) {
        self.endpoint = endpoint
        self.reactor = reactor
    }

    func start(_ dns: DNSResolver) -> Deferred<ByteStream> {
        let result = Deferred<ByteStream>(on: reactor) { [self] _ in giveUp() }
        self.result = result
        wait(for: dns.services(endpoint.service, of: endpoint.domain)) { [self] outcome in
            switch outcome {
            case .success(let services):
                places = services[...]
                // There is one at least.
                tryNext(after: CancellationError())
            case .failure(let error): end(.failure(error))
            }
        }
        return result
    }

    /// `failure`: Of the place before.
    private func tryNext(after failure: any Error) {
        guard let place = places.popFirst() else { return end(.failure(failure)) }
        let target = ClientEndpoint.tcp(
            host: "\(place.target)", port: place.port, options: endpoint.options)
        wait(for: target.openStream(on: reactor)) { [self] outcome in
            switch outcome {
            case .success: end(outcome)
            case .failure(let error): tryNext(after: error)
            }
        }
    }

    /// Calls `goOn` with the outcome, unless the result was cancelled.
    private func wait<Value>(
        for step: Deferred<Value>, _ goOn: @escaping (Result<Value, any Error>) -> Void
    ) {
        let link = step.addBoth { [self] outcome in
            waiting = nil
            if result != nil { goOn(outcome) }
        }
        if link.isPending { waiting = link }
    }

    private func end(_ outcome: Result<ByteStream, any Error>) {
        guard let result else { return }
        self.result = nil
        switch outcome {
        case .success(let stream): result.succeed(stream)
        case .failure(let error): result.fail(error)
        }
    }

    /// The Deferred was cancelled; it fails by itself.
    private func giveUp() {
        result = nil
        let waiting = waiting.take()
        waiting?.cancel()
    }
}
