// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

import Testing
import Torsion
import TorsionHTTP
import TorsionTLS
import TorsionTesting

// snippet: Get
func fetch(_ url: String, by client: HTTPClient) -> Deferred<Bytes> {
    client.get(url).addCallback { response in
        guard response.status == .ok else { throw HTTPResponse(response.status) }
        return response.body.collect(limitBytes: 1 << 20)
    }
}
// snippet end

// snippet: Task
func count(_ url: String, by client: HTTPClient) async throws -> Int {
    let response = try await client.get(url).value
    var count = 0
    // Read no faster than this loop goes round.
    for try await piece in response.body { count += piece.count }
    return count
}
// snippet end

// snippet: Put
func upload(_ path: String, to url: HTTPURL, by client: HTTPClient) -> Deferred<HTTPStatus> {
    var request = ClientRequest(url, method: .put)
    request.fields[.contentType] = "application/octet-stream"
    request.body = .source(FileProducer(path: path, on: client.reactor))
    return client.send(request).addCallback { response in response.status }
}
// snippet end

// snippet: Options
func makeClient(on reactor: Reactor) -> HTTPClient {
    var options = HTTPClientOptions()
    options.headTimeout = .seconds(5)
    options.redirects = .follow(limit: 5)
    return HTTPClient(on: reactor, options: options, security: .tls)
}
// snippet end

// snippet: Proxy
func passOn(to origin: String, on reactor: Reactor) throws {
    let proxy = ReverseProxy(to: try HTTPURL(parsing: origin), by: HTTPClient(on: reactor))
    proxy.whenFailed = { error in print("\(error)") }
    try ServerEndpoint.tcp(port: 8080).listen(on: reactor, http: HTTPServerOptions()) { proxy }
}
// snippet end

@Test func `the guide's client fetches, counts and goes through a proxy`() throws {
    let world = SimulatedWorld(seed: 1, faults: .none)
    try world.host("server").run { reactor in
        try ServerEndpoint.tcp(port: 80).listen(on: reactor, http: HTTPServerOptions()) { Front() }
    }
    try world.host("proxy").run { try passOn(to: "http://server", on: $0) }
    var whole: Bytes?
    var number: Int?
    var status: HTTPStatus?
    try world.host("client").run { reactor in
        let client = makeClient(on: reactor)
        fetch("http://server/", by: client).addCallback { whole = $0 }
            .whenFailed { Issue.record($0) }
        fetch("http://server/else", by: client)
            .whenFailed { status = ($0 as? HTTPResponse)?.status }
        reactor.spawn { number = try await count("http://proxy:8080/", by: client) }
    }
    try world.run { whole != nil && number != nil && status != nil }
    #expect(whole == "Hello, World!" && number == 13 && status == .notFound)
}
