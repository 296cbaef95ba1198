// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

internal import ArgumentParser
internal import Synchronization
internal import Torsion
@_spi(Tool) internal import TorsionCore

/// The options of the commands that carry bytes between two ends.
struct TrafficOptions: ParsableArguments {
    @Option(
        help: """
            Show on standard error what passes, as hex or as text, with the connection's number and \
            the direction: of each piece up to 4096 bytes.
            """)
    var log: TrafficForm?

    @Option(
        help: ArgumentHelp(
            "Seconds without a byte in either direction, after which a connection is closed.",
            valueName: "seconds"))
    var idle: Double?

    /// - Throws: `ValidationError`, which ends the command with status 64.
    func check() throws {
        if let idle, !(0.001...86_400 ~= idle) {
            throw ValidationError(
                "'\(idle)' is no idle time: allowed is 0.001 to 86400 seconds")
        }
    }

    /// How long a connection may be idle.
    var idleLimit: Duration? { idle.map { .seconds($0) } }

    /// The same place, whose connections are shown.
    func logging(
        _ endpoint: any StreamServerEndpoint, _ arrows: TrafficArrows
    ) -> any StreamServerEndpoint {
        guard let log else { return endpoint }
        return endpoint.observed { TrafficPrinter(log, arrows) }
    }

    /// The same place for a command of one conversation, which ends when nothing passes.
    func applied(
        to endpoint: any StreamServerEndpoint, _ end: IdleEnd
    ) -> any StreamServerEndpoint {
        let endpoint = logging(endpoint, .ofPeer)
        guard let idleLimit else { return endpoint }
        return endpoint.observed { IdleObserver(idleLimit, end) }
    }

    /// The same for a client.
    func applied(
        to endpoint: any StreamClientEndpoint, _ end: IdleEnd
    ) -> any StreamClientEndpoint {
        var endpoint = endpoint
        if let log { endpoint = endpoint.observed { TrafficPrinter(log, .ofPeer) } }
        guard let idleLimit else { return endpoint }
        return endpoint.observed { IdleObserver(idleLimit, end) }
    }
}

/// Whether the other side is told of a connection by a PROXY header.
struct ProxyHeaderOption: ParsableArguments {
    @Flag(
        help: """
            Begin each connection that is made with a PROXY header, version 2, ahead of TLS: with \
            the client's addresses, or, of connect, with those of the connection itself.
            """)
    var proxyHeader = false
}

/// The options of the commands that join many clients to another place.
struct JoiningOptions: ParsableArguments {
    @OptionGroup var traffic: TrafficOptions

    @OptionGroup var header: ProxyHeaderOption

    @Option(
        help: ArgumentHelp(
            "How many clients there may be at once; further ones are refused.",
            valueName: "clients"))
    var limit: Int?

    /// For clients that are joined to a place.
    var rules: JoiningRules {
        JoiningRules(
            clients: ClientCount(limit: limit), idleLimit: traffic.idleLimit,
            sendsHeader: header.proxyHeader)
    }

    /// - Throws: `ValidationError`, which ends the command with status 64.
    func check() throws {
        try traffic.check()
        if let limit, limit < 1 {
            throw ValidationError("'\(limit)' is no limit of clients: allowed is 1 or more")
        }
    }
}

/// A connection was closed, since nothing had passed for so long.
struct IdleTooLong: Error, CustomStringConvertible {
    let limit: Duration
    var description: String { "nothing passed for \(seconds(limit)) seconds" }
}

/// Remembers that the one conversation of a command ended for that.
final class IdleEnd: Sendable {
    private let first = Mutex<IdleTooLong?>(nil)

    var error: IdleTooLong? { first.withLock { $0 } }

    func note(_ error: IdleTooLong) { first.withLock { $0 = $0 ?? error } }
}

/// Ends the run when nothing passes by its one connection.
private final class IdleObserver: ConnectionObserver {
    private let limit: Duration
    private let end: IdleEnd
    private var latest = MonotonicInstant(nanoseconds: 0)
    private var timer: DelayedCall?

    init(_ limit: Duration, _ end: IdleEnd) {
        self.limit = limit
        self.end = end
    }

    func connectionMade(_ transport: any StreamTransport) {
        note(transport)
        wait(limit, transport.reactor)
    }

    func willDeliver(_ bytes: RawSpan, of transport: any StreamTransport) { note(transport) }

    func didWrite(_ bytes: RawSpan, of transport: any StreamTransport) { note(transport) }

    func didSend(byteCount: Int, of transport: any StreamTransport) { note(transport) }

    func didLose(_ why: ConnectionLoss, of transport: any StreamTransport) {
        timer?.cancel()
        timer = nil
    }

    private func note(_ transport: any StreamTransport) { latest = transport.reactor.now }

    private func wait(_ delay: Duration, _ reactor: Reactor) {
        timer = reactor.callLater(delay) { [self, unowned reactor] in look(reactor) }
    }

    private func look(_ reactor: Reactor) {
        timer = nil
        let rest = limit - latest.duration(to: reactor.now)
        guard rest <= .zero else { return wait(rest, reactor) }
        end.note(IdleTooLong(limit: limit))
        // As a signal does: both sides end.
        reactor.stop(within: .seconds(1))
    }
}

/// Begins a connection with a PROXY header about itself.
final class OwnProxyHeader: StreamFilter {
    override func begin() throws {
        send(try ProxyHeader(source: localAddress, destination: peerAddress).encoded())
        withdraw()
    }
}
