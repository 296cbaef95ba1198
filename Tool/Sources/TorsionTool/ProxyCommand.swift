// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

internal import ArgumentParser
internal import Torsion
@_spi(Tool) internal import TorsionCore
internal import TorsionHTTP
internal import TorsionTLS

/// `torsion proxy`: connects each client to another place.
struct ProxyCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "proxy",
        abstract: "Join each client to another endpoint until SIGINT or SIGTERM.",
        discussion: """
            Each direction ends by itself, and a slow reader slows the other end down. A client \
            whose target cannot be reached is aborted, and standard error says why. If one \
            direction has ended and the other carries nothing for five minutes, both connections \
            are closed. Each client takes two descriptors; more clients than the limit (ulimit -n) \
            has room for are refused. Prints one line when it listens: \
            listening on 127.0.0.1:41234 backend=epoll threads=1

            With --http each request is passed on by itself, over connections that are kept. \
            Fields that concern one connection stay on it, Via is added, and the request for a \
            WebSocket joins both connections. The client gets 502 if the origin cannot be reached, \
            breaks off or does not answer with HTTP, and 504 if it takes too long; standard error \
            says why.
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

    @OptionGroup var joining: JoiningOptions

    @OptionGroup var serving: ServingOptions

    func validate() throws {
        try serving.check()
        try joining.check()
        _ = try readEndpoint(serverText(listen), try tls.parser().server(parsing:))
        if http {
            guard joining.traffic.idle == nil, !joining.header.proxyHeader else {
                throw ValidationError(
                    "--idle and --proxy-header are for bytes: with --http the connections to the"
                        + " origin carry requests of many clients")
            }
            _ = try Gateway(to: to)
        } else {
            _ = try readEndpoint(clientText(to), EndpointParser.commandLine().client(parsing:))
        }
    }

    func run() throws {
        let endpoint = joining.traffic.logging(
            try readEndpoint(serverText(listen), try tls.parser().server(parsing:)), .ofClient)
        if http { return try serve(endpoint, try Gateway(to: to)) }
        let target = try readEndpoint(clientText(to), EndpointParser.commandLine().client(parsing:))
        let threads = serving.threads
        let rules = joining.rules
        try tls.announce()
        try serving.run { reactor, announcement in
            let relays = ProxyFactory(to: target, rules, reactors: threads, on: reactor)
            announcement.make(for: try endpoint.listen(on: reactor, factory: relays))
        }
    }

    private func serve(_ endpoint: any StreamServerEndpoint, _ gateway: Gateway) throws {
        let limits = ConnectionLimits.descriptors(each: 2, reactors: serving.threads)
        let clients = ClientCount(limit: joining.limit)
        let place = endpoint.limited(to: limits).observed(byPort: { ClientCounter(clients) })
        try tls.announce()
        try serving.run { reactor, announcement in
            let proxy = gateway.makeProxy(on: reactor)
            reactor.connectionObserver.refused = { [unowned reactor] error, _ in
                if error is TooManyClients { reactor.printLine("\(error)") }
            }
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
