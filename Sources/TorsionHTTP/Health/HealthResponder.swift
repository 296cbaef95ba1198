// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

public import TorsionCore

/// Answers the questions of load balancers and supervisors, and passes every other request on.
///
///     try ServerEndpoint(parsing: "tcp:8080").listen(on: reactor, http: HTTPServerOptions()) {
///         HealthResponder(before: Hello())
///     }
///
/// - `/live` is answered with 200: the loop turns. A program that does not answer it is to be ended.
/// - `/ready` is answered with 200 while `Reactor.isReady`, and what you check as well,
///   holds; with 503 otherwise: from the first moment of a stop, whose lame duck gives a load balancer
///   the time to ask.
///
/// For a port of its own there is ``HealthEndpoint``.
public final class HealthResponder: HTTPResponder {
    private let next: (any HTTPResponder)?
    private let check: () -> String?

    /// Stands before another responder.
    ///
    /// - Parameters:
    ///   - next: Answers every other path; nil answers with 404.
    ///   - check: Called for `/ready` while the reactor is ready: nil, or one line that says why the
    ///     program cannot serve, for example that it has lost its database.
    public init(before next: (any HTTPResponder)? = nil, check: @escaping () -> String? = { nil }) {
        self.next = next
        self.check = check
    }

    /// Answers.
    ///
    /// - Parameters:
    ///   - head: The request; its target is not looked at.
    ///   - exchange: Answered before the call returns.
    /// - Throws: Does not throw.
    public func requestReceived(
        _ head: borrowing RequestHead, _ exchange: consuming HTTPExchange
    ) throws {
        if head.path == "/live" { return Self.answer(exchange, .ok, "alive") }
        if head.path == "/ready" {
            let reactor = exchange.reactor
            guard reactor.isReady else {
                let word = reactor.isStopping ? "stopping" : "starting"
                return Self.answer(exchange, .serviceUnavailable, word)
            }
            guard let reason = check() else { return Self.answer(exchange, .ok, "ready") }
            return Self.answer(exchange, .serviceUnavailable, reason)
        }
        guard let next else { return exchange.respond(.notFound) }
        try next.requestReceived(head, exchange)
    }

    /// Passed on.
    public func connectionLost() { next?.connectionLost() }

    private static func answer(
        _ exchange: consuming HTTPExchange, _ status: HTTPStatus, _ word: String
    ) {
        exchange.respond(
            status, [.contentType: "text/plain", .cacheControl: "no-store"],
            body: Bytes(word + "\n"))
    }
}

/// A port for `/live` and `/ready` alone: see ``HealthResponder``.
///
///     try HealthEndpoint(parsing: "tcp:8081").listen(on: reactor)
public struct HealthEndpoint: Sendable {
    private let endpoint: any StreamServerEndpoint

    /// Asked at any endpoint.
    ///
    /// - Parameter endpoint: Where to listen.
    public init(_ endpoint: any StreamServerEndpoint) { self.endpoint = endpoint }

    /// Asked at a place that a text names.
    ///
    /// - Parameter text: As of `ServerEndpoint.init(parsing:)`.
    /// - Throws: `EndpointError`, which says what is allowed.
    public init(parsing text: String) throws(EndpointError) {
        self.init(try ServerEndpoint(parsing: text))
    }

    /// Listens.
    ///
    /// - Parameters:
    ///   - reactor: Whose readiness is reported.
    ///   - check: As of ``HealthResponder/init(before:check:)``.
    /// - Returns: The port, which accepts from now on.
    /// - Throws: `IOError` that names the place and the cause.
    @discardableResult
    public func listen(
        on reactor: Reactor, check: @escaping () -> String? = { nil }
    ) throws(IOError) -> ListeningPort {
        let responder = HealthResponder(check: check)
        return try endpoint.listen(on: reactor, http: HTTPServerOptions()) { responder }
    }
}
