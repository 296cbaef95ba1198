// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

/// Connects each client to another place, and carries what either says to the other.
///
///     let target = try ClientEndpoint(parsing: "tcp:127.0.0.1:8007")
///     try ServerEndpoint(parsing: "tcp:8009").listen(on: reactor) { StreamProxy(to: target) }
///
/// A client is read from only when there is somewhere to put the bytes. Then each direction is a
/// ``ByteSource/pipe(to:)``: it ends by itself, and who reads slowly slows the other end down. A
/// client whose target cannot be reached is aborted; one that goes while it waits ends the attempt.
///
/// A peer that has closed its connection looks like one that has only said all it wants to say, so
/// a pair of which one direction has ended could wait for its other end without end. If the other
/// direction is silent for `halfClosedTimeout`, five minutes by default, both connections are
/// closed; bytes on their way still arrive. A direction that waits for its reader does not count as
/// silent. How such a reader is given up says ``StreamOptions/keepAlive``, which also finds most
/// peers that are gone earlier.
///
/// With an `idleTimeout` a pair is closed in the same way if both directions carry nothing for so
/// long, whatever they wait for. The relay looks at its counts four times in that time, and so may
/// close up to a quarter later; it does not look at the bytes, which the kernel may carry.
///
/// - SeeAlso: Twisted `twisted.protocols.portforward`.
public final class StreamProxy: StreamProtocol {
    /// Five minutes.
    public static let defaultHalfClosedTimeout = Duration.seconds(300)

    private let connect: (Reactor) -> Deferred<FarEnd>
    /// The end that is there already, until there is a client to join it to.
    private var unjoined: FarEnd?
    private var whenEnded: ((Result<ProxiedBytes, any Error>) -> Void)?
    private var attempt: Deferred<FarEnd>?
    private let halfClosedTimeout: Duration?
    private let idleTimeout: Duration?
    /// Whether a stop of the reactor lets both ends go on, until its time is up.
    private var outlivesStop = false
    private var deadline: DelayedCall?
    private var idleCheck: DelayedCall?
    /// How many quarters of ``idleTimeout`` have passed since something was carried.
    private var idleQuarters = 0
    /// What came of the directions that have ended.
    private var toTarget: Result<Int, any Error>?
    private var toClient: Result<Int, any Error>?

    /// Relays one connection.
    ///
    /// - Parameters:
    ///   - target: Where the client is connected to.
    ///   - halfClosedTimeout: How long the second direction may be silent when the first has ended.
    ///     `nil` lets it wait.
    ///   - idleTimeout: How long both directions together may carry nothing; `nil`, the default, is
    ///     for any time.
    ///   - whenEnded: Called once, on the reactor, when both directions have ended. An error is an
    ///     ``IOError`` if the target cannot be reached, else a ``ConnectionLoss`` or
    ///     ``PipeBroken``. The default is empty.
    public init(
        to target: ClientEndpoint,
        halfClosedTimeout: Duration? = StreamProxy.defaultHalfClosedTimeout,
        idleTimeout: Duration? = nil,
        whenEnded: @escaping (Result<ProxiedBytes, any Error>) -> Void = { _ in }
    ) {
        connect = { reactor in target.connect(on: reactor) { FarEnd() } }
        self.halfClosedTimeout = halfClosedTimeout
        self.idleTimeout = idleTimeout
        self.whenEnded = whenEnded
    }

    /// The same for any endpoint, whose connection may have filters and observers.
    ///
    /// - Parameters:
    ///   - target: Where the client is connected to.
    ///   - halfClosedTimeout: How long the second direction may be silent when the first has ended;
    ///     `nil` lets it wait.
    ///   - idleTimeout: How long both directions together may carry nothing; `nil`, the default, is
    ///     for any time.
    ///   - whenEnded: Called once, on the reactor, when both directions have ended; see
    ///     ``init(to:halfClosedTimeout:idleTimeout:whenEnded:)-(ClientEndpoint,_,_,_)``.
    public init(
        to target: some StreamClientEndpoint,
        halfClosedTimeout: Duration? = StreamProxy.defaultHalfClosedTimeout,
        idleTimeout: Duration? = nil,
        whenEnded: @escaping (Result<ProxiedBytes, any Error>) -> Void = { _ in }
    ) {
        connect = { reactor in target.connect(on: reactor) { FarEnd() } }
        self.halfClosedTimeout = halfClosedTimeout
        self.idleTimeout = idleTimeout
        self.whenEnded = whenEnded
    }

    /// Relays a connection to one that is there already, or about to be switched to its far end; a stop of
    /// the reactor lets both go on, until its time is up.
    ///
    /// - Parameters:
    ///   - farEnd: The protocol of the other connection. If the client's never comes, that is aborted.
    ///   - reactor: Where both belong.
    package init(joining farEnd: FarEnd, on reactor: Reactor) {
        let arrival = farEnd.awaitArrival(on: reactor)
        connect = { _ in arrival }
        unjoined = farEnd
        outlivesStop = true
        halfClosedTimeout = StreamProxy.defaultHalfClosedTimeout
        idleTimeout = nil
        whenEnded = { _ in }
    }

    deinit { unjoined?.abandon() }

    /// Begins to connect to the target.
    ///
    /// - Parameter client: Paused until the target is connected.
    public func connectionMade(_ client: any StreamTransport) {
        unjoined = nil
        client.pauseProducing()
        let attempt = connect(client.reactor)
        self.attempt = attempt
        attempt
            .addCallback { [self] farEnd in join(client, farEnd) }
            .whenFailed { [self] error in
                self.attempt = nil
                client.abortConnection()
                end(.failure(error))
            }
    }

    /// Not called: the client is paused until the pipes take over.
    ///
    /// - Parameters:
    ///   - bytes: Ignored.
    ///   - transport: Ignored.
    public func dataReceived(_ bytes: RawSpan, from transport: any StreamTransport) {}

    /// Ends the attempt of a client that did not wait for it.
    ///
    /// - Parameters:
    ///   - why: Given to `whenEnded` if the target was not connected yet.
    ///   - transport: The client's connection.
    public func connectionLost(_ why: ConnectionLoss, from transport: any StreamTransport) {
        guard let attempt = attempt.take() else { return }
        end(.failure(why))
        attempt.cancel()
    }

    private func join(_ client: any StreamTransport, _ farEnd: FarEnd) {
        attempt = nil
        guard let server = farEnd.transport.take() else {
            client.abortConnection()
            return end(.failure(PipeBroken(byteCount: 0)))
        }
        let out = client.producing(into: server, outlivesStop: outlivesStop)
        let back = server.producing(into: client, outlivesStop: outlivesStop)
        out.result.addBoth { [self] result in
            toTarget = result
            directionEnded(result, left: back.pipe, of: client, server)
        }
        back.result.addBoth { [self] result in
            toClient = result
            directionEnded(result, left: out.pipe, of: client, server)
        }
        if toTarget == nil || toClient == nil { limitIdling(out.pipe, back.pipe, client, server) }
    }

    private func limitIdling(
        _ out: PipeProtocol, _ back: PipeProtocol, _ client: any StreamTransport,
        _ server: any StreamTransport
    ) {
        guard let idleTimeout else { return }
        let before = out.byteCount + back.byteCount
        idleCheck = client.reactor.callLater(idleTimeout / 4) { [self] in
            idleCheck = nil
            idleQuarters = out.byteCount + back.byteCount == before ? idleQuarters + 1 : 0
            guard idleQuarters == 4 else { return limitIdling(out, back, client, server) }
            close(client, server, because: .idle)
        }
    }

    private func close(
        _ client: any StreamTransport, _ server: any StreamTransport,
        because deadline: ConnectionLoss.Deadline
    ) {
        stopTimers()
        end(.failure(ConnectionLoss.deadlinePassed(deadline)))
        client.loseConnection()
        server.loseConnection()
    }

    private func stopTimers() {
        deadline?.cancel()
        idleCheck?.cancel()
        (deadline, idleCheck) = (nil, nil)
    }

    private func directionEnded(
        _ result: Result<Int, any Error>, left other: PipeProtocol, of client: any StreamTransport,
        _ server: any StreamTransport
    ) {
        guard toTarget == nil || toClient == nil else { return endBoth() }
        // One that broke ends the other by itself.
        guard case .success = result else { return }
        limitSilence(of: other, client, server)
    }

    private func limitSilence(
        of pipe: PipeProtocol, _ client: any StreamTransport, _ server: any StreamTransport
    ) {
        guard let halfClosedTimeout else { return }
        let before = pipe.byteCount
        deadline = client.reactor.callLater(halfClosedTimeout) { [self] in
            guard pipe.byteCount == before, !pipe.isPaused else {
                return limitSilence(of: pipe, client, server)
            }
            close(client, server, because: .halfClosed)
        }
    }

    private func endBoth() {
        stopTimers()
        guard let toTarget, let toClient else { return }
        switch (toTarget, toClient) {
        case (.success(let toTarget), .success(let toClient)):
            end(.success(ProxiedBytes(toTarget: toTarget, toClient: toClient)))
        // That the other connection was lost says less than what it was lost of.
        case (.failure(let error), .success), (.success, .failure(let error)),
            (.failure(is PipeBroken), .failure(let error)), (.failure(let error), .failure):
            end(.failure(error))
        }
    }

    private func end(_ result: Result<ProxiedBytes, any Error>) {
        whenEnded.take()?(result)
    }
}

extension StreamProxy: InvariantChecking {
    /// While it is the protocol of its client: the pipes take its place.
    package func checkInvariants() {
        require(attempt?.isPending ?? false, "StreamProxy: a client waits for no target")
        require(
            toTarget == nil && toClient == nil, "StreamProxy: a direction ended before it began")
    }
}

/// How much a ``StreamProxy`` carried.
public struct ProxiedBytes: Hashable, Sendable {
    /// From the client to the target.
    public let toTarget: Int
    /// From the target to the client.
    public let toClient: Int
}

/// Holds the target's connection until the pipes take over.
package final class FarEnd: StreamProtocol {
    fileprivate var transport: (any StreamTransport)?
    private var arrival: Deferred<FarEnd>?
    private var isAbandoned = false

    package init() {}

    /// One that was to take over a connection which was lost before is released without a call.
    deinit { arrival?.fail(PipeBroken(byteCount: 0)) }

    fileprivate func awaitArrival(on reactor: Reactor) -> Deferred<FarEnd> {
        let arrival = Deferred<FarEnd>(on: reactor)
        self.arrival = arrival
        return arrival
    }

    /// There is nobody to join it to.
    fileprivate func abandon() {
        isAbandoned = true
        arrival = nil
        transport?.abortConnection()
    }

    package func connectionMade(_ transport: any StreamTransport) {
        if isAbandoned { return transport.abortConnection() }
        self.transport = transport
        transport.pauseProducing()
        let arrival = arrival.take()
        arrival?.succeed(self)
    }

    package func dataReceived(_ bytes: RawSpan, from transport: any StreamTransport) {}

    package func connectionLost(_ why: ConnectionLoss, from transport: any StreamTransport) {
        self.transport = nil
    }
}
