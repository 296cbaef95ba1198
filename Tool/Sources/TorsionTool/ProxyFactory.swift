// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

internal import Synchronization
internal import Torsion
@_spi(Tool) internal import TorsionCore
internal import TorsionProcesses
internal import TorsionTLS

/// How many clients all reactors of a command have together.
final class ClientCount: Sendable {
    /// How many there may be.
    let limit: Int?
    private let count = Atomic(0)

    init(limit: Int?) { self.limit = limit }

    /// Counts one more, unless there are too many.
    func begin() -> Bool {
        guard let limit else { return true }
        guard count.wrappingAdd(1, ordering: .relaxed).newValue > limit else { return true }
        end()
        return false
    }

    func end() {
        if limit != nil { count.wrappingSubtract(1, ordering: .relaxed) }
    }
}

/// A client was refused for the limit of the command line.
struct TooManyClients: PeerRefusal, CustomStringConvertible {
    let limit: Int
    var description: String { "a client was refused: the limit is \(limit)" }
}

/// Counts the clients of a port.
final class ClientCounter: PortObserver {
    private let clients: ClientCount

    init(_ clients: ClientCount) { self.clients = clients }

    func clientArrived(from peer: SocketAddress) throws -> (any ConnectionObserver)? {
        guard let limit = clients.limit else { return nil }
        guard clients.begin() else { throw TooManyClients(limit: limit) }
        return CountedClient(clients)
    }

    private final class CountedClient: ConnectionObserver {
        private let clients: ClientCount

        init(_ clients: ClientCount) { self.clients = clients }

        deinit { clients.end() }
    }
}

/// What holds for clients that are joined to a place.
struct JoiningRules: Sendable {
    var clients = ClientCount(limit: nil)
    var idleLimit: Duration?
    /// Whether the target is told of each client by a PROXY header.
    var sendsHeader = false
}

/// Joins clients to a place: as many as there are descriptors for, or fewer.
///
/// Without a limit clients would take those that the other side needs. A `ConnectionLimiter` would do
/// as well, but as an observer it would keep bulk from being moved by `splice(2)`.
final class ProxyFactory: StreamProtocolFactory {
    private let target: any StreamClientEndpoint
    private let rules: JoiningRules
    private let descriptorLimit: Int
    private unowned let reactor: Reactor
    private var count = 0
    /// Whether a client had no target to be joined to, or a child that failed.
    private(set) var hasFailed = false
    /// Whether there is one client alone, which is the command's own: how it ends is of interest.
    var isOfOne = false
    /// Whether a broken pipe of that client is to end the command by SIGPIPE, in silence.
    var endsByBrokenPipe = false
    /// That has come.
    private(set) var isOutputBroken = false
    /// That a client was idle for too long.
    private(set) var idleError: IdleTooLong?
    /// Called when the last client has ended.
    var whenIdle: () -> Void = {}

    /// - Parameters:
    ///   - target: What each client is joined to.
    ///   - rules: Shared by the reactors of the command.
    ///   - reactors: How many share the descriptors.
    ///   - reactor: Where the clients belong.
    init(
        to target: any StreamClientEndpoint, _ rules: JoiningRules = JoiningRules(),
        reactors: Int, on reactor: Reactor
    ) {
        self.target = target
        self.rules = rules
        self.reactor = reactor
        // A child has a pipe in each direction, and a descriptor for its exit.
        let each = target is ProcessEndpoint ? 4 : 2
        descriptorLimit =
            ConnectionLimits.descriptors(each: each, reactors: reactors).total ?? .max
    }

    func makeProtocol(for peer: SocketAddress) throws -> (any StreamProtocol)? {
        guard count < descriptorLimit else {
            reactor.printLine("\(descriptorLimit) clients are all that there are descriptors for")
            return nil
        }
        guard rules.clients.begin() else {
            reactor.printLine("\(TooManyClients(limit: rules.clients.limit ?? 0))")
            return nil
        }
        count += 1
        guard rules.sendsHeader else {
            return StreamProxy(to: target, idleTimeout: rules.idleLimit, whenEnded: ended)
        }
        return HeaderedProxy(to: target, idleTimeout: rules.idleLimit, whenEnded: ended)
    }

    private func ended(_ result: Result<ProxiedBytes, any Error>) {
        count -= 1
        rules.clients.end()
        // How a client ends is its own affair; that the target is away is not.
        switch result {
        case .failure(let error as IOError): report(error)
        case .failure(let error as TLSError): report(error)
        case .failure(ConnectionLoss.protocolFailed(let error as ProcessFailure)): report(error)
        case .failure(ConnectionLoss.deadlinePassed(.idle)):
            idleError = rules.idleLimit.map { IdleTooLong(limit: $0) }
        case .failure(let error) where isOfOne && !reactor.isStopping: reportEnd(error)
        case .success, .failure: break
        }
        if count == 0 { whenIdle() }
    }

    /// The one client, or its target, was lost.
    private func reportEnd(_ error: any Error) {
        let cause = (error as? PipeBroken)?.cause ?? error
        if let loss = cause as? ConnectionLoss, loss.isClean { return }
        if endsByBrokenPipe, case ConnectionLoss.failed(let error) = cause,
            error.code == .brokenPipe
        {
            isOutputBroken = true
        } else {
            report(cause)
        }
    }

    private func report(_ error: any Error) {
        hasFailed = true
        reactor.printLine("\(error)")
    }
}

/// A `StreamProxy` whose target is told of its client first: by a PROXY header, below TLS.
private final class HeaderedProxy: StreamProtocol {
    private let target: any StreamClientEndpoint
    private let idleTimeout: Duration?
    private let whenEnded: (Result<ProxiedBytes, any Error>) -> Void
    /// From when the client's addresses are known.
    private var proxy: StreamProxy?

    init(
        to target: any StreamClientEndpoint, idleTimeout: Duration?,
        whenEnded: @escaping (Result<ProxiedBytes, any Error>) -> Void
    ) {
        self.target = target
        self.idleTimeout = idleTimeout
        self.whenEnded = whenEnded
    }

    func connectionMade(_ client: any StreamTransport) {
        let header = ProxyHeader(
            source: client.peerAddress, destination: client.localAddress)
        let place = target.filteredNextToNetwork { ProxyHeaderWriter(header) }
        let proxy = StreamProxy(to: place, idleTimeout: idleTimeout, whenEnded: whenEnded)
        self.proxy = proxy
        proxy.connectionMade(client)
    }

    func dataReceived(_ bytes: RawSpan, from transport: any StreamTransport) {}

    func connectionLost(_ why: ConnectionLoss, from transport: any StreamTransport) {
        proxy?.connectionLost(why, from: transport)
    }
}
