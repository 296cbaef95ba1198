// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

internal import ArgumentParser
internal import Torsion
@_spi(Tool) internal import TorsionCore
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
            """)

    @Option(
        help:
            "Where to listen, for example tcp:8009:interface=127.0.0.1, tls:8010:certificate=FILE:key=FILE or unix:/run/proxy."
    )
    var listen: String

    @Option(
        help:
            "Where clients are connected to, for example tcp:example.org:80, tls:example.org:443 or exec:sort:-u."
    )
    var to: String

    @OptionGroup var tls: TLSOptions

    @OptionGroup var serving: ServingOptions

    func validate() throws {
        try serving.check()
        _ = try readEndpoint(serverText(listen), try tls.parser().server(parsing:))
        _ = try readEndpoint(clientText(to), EndpointParser.commandLine().client(parsing:))
    }

    func run() throws {
        let endpoint = try readEndpoint(serverText(listen), try tls.parser().server(parsing:))
        let target = try readEndpoint(clientText(to), EndpointParser.commandLine().client(parsing:))
        let threads = serving.threads
        try tls.announce()
        try serving.run { reactor, announcement in
            let relays = ProxyFactory(to: target, reactors: threads, on: reactor)
            announcement.make(for: try endpoint.listen(on: reactor, factory: relays))
        }
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
            case .failure(let error as IOError): reactor.printLine("\(error)")
            case .failure(let error as TLSError): reactor.printLine("\(error)")
            case .failure(ConnectionLoss.protocolFailed(let error as ProcessFailure)):
                reactor.printLine("\(error)")
            case .success, .failure: break
            }
            if count == 0 { whenIdle() }
        }
    }
}
