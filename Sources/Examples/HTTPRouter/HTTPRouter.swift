// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors
import Torsion
import TorsionHTTP

/// Chooses what answers a request by its method and its path: a pattern's part that begins with a colon
/// matches any part of a path, and names it.
final class Router: HTTPResponder {
    typealias Names = [String: String]
    typealias Answer = (borrowing RequestHead, Names, consuming HTTPExchange) -> Void

    private struct Route {
        let method: HTTPMethod
        let parts: [Substring]
        let answer: Answer

        /// The parts that the pattern names; `nil` if the path is another.
        func names(_ path: [Substring]) -> Names? {
            guard path.count == parts.count else { return nil }
            var names: Names = [:]
            for (part, value) in zip(parts, path) {
                if part.first == ":" { names[String(part.dropFirst())] = String(value) }
                if part.first != ":" && part != value { return nil }
            }
            return names
        }
    }

    private var routes: [Route] = []

    func on(_ method: HTTPMethod, _ pattern: String, _ answer: @escaping Answer) {
        routes.append(
            Route(method: method, parts: pattern.split(separator: "/"), answer: answer))
    }

    func requestReceived(_ head: borrowing RequestHead, _ exchange: consuming HTTPExchange) {
        let path = String(decoding: head.path).split(separator: "/")
        let method = head.method
        let found = routes.filter { $0.names(path) != nil }
        guard let route = found.first(where: { $0.method == method }) else {
            if found.isEmpty { return exchange.respond(.notFound) }
            let allowed = found.map { "\($0.method)" }.joined(separator: ", ")
            return exchange.respond(.methodNotAllowed, [.allow: Bytes(allowed)])
        }
        route.answer(head, route.names(path) ?? [:], exchange)
    }
}

Reactor.main { reactor in
    // One thread runs all connections, so that they share the notes without a lock.
    var notes: [String: Bytes] = [:]
    let router = Router()
    router.on(.get, "/notes") { _, _, exchange in
        exchange.respond(.ok, body: Bytes(notes.keys.sorted().map { $0 + "\n" }.joined()))
    }
    router.on(.get, "/notes/:name") { _, names, exchange in
        guard let note = notes[names["name", default: ""]] else {
            return exchange.respond(.notFound)
        }
        exchange.respond(.ok, [.contentType: "text/plain"], body: note)
    }
    router.on(.put, "/notes/:name") { _, names, exchange in
        let body = exchange.body.collect(limitBytes: 64 * 1024)
        exchange.respond(
            when: body.addCallback { note in
                notes[names["name", default: ""]] = note
                return HTTPResponse(.noContent)
            })
    }
    let place = CommandLine.arguments.dropFirst().first ?? "tcp:8080"
    let port = try ServerEndpoint(parsing: place)
        .listen(on: reactor, http: HTTPServerOptions()) { router }
    print("listening on \(port.localAddress)")
}
