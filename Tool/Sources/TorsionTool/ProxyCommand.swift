// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

internal import ArgumentParser
internal import Torsion
@_spi(Tool) internal import TorsionCore
internal import TorsionHTTP
internal import TorsionProcesses
internal import TorsionTLS

/// `torsion proxy`: connects each client to another place.
struct ProxyCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "proxy",
        abstract: "Join each client to another endpoint until SIGINT or SIGTERM.",
        discussion: """
            Each direction ends by itself, and who reads slowly slows the other end down. A client \
            whose target cannot be reached is aborted, and standard error says why. If one \
            direction has ended and the other carries nothing for five minutes, both connections \
            are closed. Each client takes two descriptors; more clients than the limit (ulimit -n) \
            has room for are refused. Prints one line when it listens: \
            listening on 127.0.0.1:41234 backend=epoll threads=1

            With --http each request by itself is passed on, over connections that are kept: fields \
            of one connection stay on it, Via is added, a WebSocket's request joins both \
            connections. An origin that cannot be reached, breaks off or answers with what is none is \
            502 for the client, one that takes too long 504, and standard error says why.
            """)

    @Option(
        help:
            "Where to listen, for example tcp:8009:interface=127.0.0.1, tls:8010:certificate=FILE:key=FILE or unix:/run/proxy."
    )
    var listen: String

    @Option(
        help:
            "Where clients are connected to, for example tcp:example.org:80, tls:example.org:443 or exec:sort:-u; with --http also a URL, http://127.0.0.1:9000."
    )
    var to: String

    @Flag(help: "Pass on HTTP/1.1 requests, as a reverse proxy, in place of bytes.")
    var http = false

    @OptionGroup var tls: TLSOptions

    @OptionGroup var serving: ServingOptions

    func validate() throws {
        try serving.check()
        _ = try readEndpoint(serverText(listen), try tls.parser().server(parsing:))
        if http {
            _ = try Gateway(to: to)
        } else {
            _ = try readEndpoint(clientText(to), EndpointParser.commandLine().client(parsing:))
        }
    }

    func run() throws {
        let endpoint = try readEndpoint(serverText(listen), try tls.parser().server(parsing:))
        if http { return try serve(endpoint, try Gateway(to: to)) }
        let target = try readEndpoint(clientText(to), EndpointParser.commandLine().client(parsing:))
        let threads = serving.threads
        try tls.announce()
        try serving.run { reactor, announcement in
            let relays = ProxyFactory(to: target, reactors: threads, on: reactor)
            announcement.make(for: try endpoint.listen(on: reactor, factory: relays))
        }
    }

    private func serve(_ endpoint: any StreamServerEndpoint, _ gateway: Gateway) throws {
        let limits = ConnectionLimits.descriptors(each: 2, reactors: serving.threads)
        let place = endpoint.limited(to: limits)
        try tls.announce()
        try serving.run { reactor, announcement in
            let proxy = gateway.makeProxy(on: reactor)
            let port = try place.listen(on: reactor, http: HTTPServerOptions()) { proxy }
            announcement.make(for: port)
        }
    }
}

/// Where requests are passed on to: a URL, or any endpoint, which is asked in the clear.
private struct Gateway: Sendable {
    private let origin: HTTPURL
    private let endpoint: (any StreamClientEndpoint)?

    /// - Throws: `ValidationError`, which ends the command with status 64.
    init(to text: String) throws {
        do {
            guard !text.contains("://") else {
                origin = try HTTPURL(parsing: text)
                endpoint = nil
                guard origin.scheme == .http || origin.scheme == .https, origin.target == "/" else {
                    throw ValidationError(
                        "'\(text)' is no origin: allowed is http: or https:, with no path")
                }
                return
            }
            origin = try HTTPURL(parsing: "http://localhost")
        } catch let error as HTTPURLError {
            throw ValidationError("\(error)")
        }
        endpoint = try readEndpoint(clientText(text), EndpointParser.commandLine().client(parsing:))
    }

    func makeProxy(on reactor: Reactor) -> ReverseProxy {
        var options = HTTPClientOptions()
        // As many as clients, in practice: descriptors are what limits them.
        options.connectionLimit = 1_024
        if let endpoint { options.endpoint = { _ in endpoint } }
        let client = HTTPClient(on: reactor, options: options, security: .tls)
        let proxy = ReverseProxy(to: origin, by: client)
        proxy.whenFailed = { [unowned reactor] error in reactor.printLine("\(error)") }
        return proxy
    }
}

/// Relays as many clients as there are descriptors for.
///
/// Without a limit clients would take those that the other side needs. A `ConnectionLimiter` would do
/// as well, but as an observer it would keep bulk from being moved by `splice(2)`.
final class ProxyFactory: StreamProtocolFactory {
    private let target: any StreamClientEndpoint
    private let limit: Int
    private unowned let reactor: Reactor
    private var count = 0
    /// Whether a client had no target to be joined to, or a child that failed.
    private(set) var hasFailed = false
    /// Called when the last client has ended.
    var whenIdle: () -> Void = {}

    init(to target: any StreamClientEndpoint, reactors: Int, on reactor: Reactor) {
        self.target = target
        self.reactor = reactor
        // A child has a pipe in each direction, and a descriptor for its exit.
        let each = target is ProcessEndpoint ? 4 : 2
        limit = ConnectionLimits.descriptors(each: each, reactors: reactors).total ?? .max
    }

    func makeProtocol(for peer: SocketAddress) throws -> (any StreamProtocol)? {
        guard count < limit else {
            reactor.printLine("\(limit) clients are all that there are descriptors for")
            return nil
        }
        count += 1
        return StreamProxy(to: target) { [self] result in
            count -= 1
            // How a client ends is its own affair; that the target is away is not.
            switch result {
            case .failure(let error as IOError): report(error)
            case .failure(let error as TLSError): report(error)
            case .failure(ConnectionLoss.protocolFailed(let error as ProcessFailure)): report(error)
            case .success, .failure: break
            }
            if count == 0 { whenIdle() }
        }
    }

    private func report(_ error: any Error) {
        hasFailed = true
        reactor.printLine("\(error)")
    }
}
