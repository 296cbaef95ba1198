// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

import Glibc
import TestPrograms
import Testing
import Torsion
@testable import TorsionHTTP

/// Servers of others, where they are installed.
@Suite(.serialized) struct PeerTests {
    private static let hasNginx = access("/usr/sbin/nginx", X_OK) == 0
    private static let hasPython = run("python3", ["-c", "import http.server"])
    private static let hasAiohttp = run("python3", ["-c", "import aiohttp"])

    private static func run(_ path: String, _ arguments: [String]) -> Bool {
        (try? Program(path: path, arguments)).map { $0.wait() == 0 } ?? false
    }

    /// A folder with a file `a`, which goes with the test.
    private final class Folder {
        let path: String
        static let text = String(repeating: "0123456789abcde\n", count: 20_000)

        init() throws {
            var template = Array("/tmp/torsion-peer-XXXXXX".utf8CString)
            try #require(mkdtemp(&template) != nil)
            path = String(
                decoding: template.dropLast().map { UInt8(bitPattern: $0) }, as: UTF8.self)
            try write("a", Self.text)
        }

        func write(_ name: String, _ text: String) throws {
            let file = try #require(fopen("\(path)/\(name)", "w"))
            fputs(text, file)
            fclose(file)
        }

        deinit { _ = PeerTests.run("rm", ["-r", path]) }
    }

    /// What became of some requests, one after the other.
    private func answers(
        _ requests: [ClientRequest], by proxied: HTTPURL? = nil,
        _ options: HTTPClientOptions = HTTPClientOptions()
    ) throws -> [String] {
        var found: [String] = []
        var connectionCount = 0
        let policy = RetryPolicy(
            firstDelay: .milliseconds(10), factor: 1, isPermanent: { !($0 is IOError) })
        try Reactor.run(signals: .ignore) { reactor in
            let client = HTTPClient(on: reactor, options: options)
            var origin: ListeningPort?
            if let proxied {
                let proxy = ReverseProxy(to: proxied, by: client)
                origin = try ServerEndpoint.tcp(port: 0, interface: .loopback)
                    .listen(on: reactor, http: HTTPServerOptions()) { proxy }
            }
            let asker = proxied == nil ? client : HTTPClient(on: reactor)
            func ask(_ rest: ArraySlice<ClientRequest>) {
                guard var request = rest.first else {
                    connectionCount = client.connectionCount
                    reactor.stop(within: .seconds(5))
                    return
                }
                if let origin {
                    let address = "http://\(origin.localAddress)"
                    let target = String(decoding: request.url.target)
                    request.url = (try? HTTPURL(parsing: address + target)) ?? request.url
                }
                // One that has only just started may not listen yet.
                reactor.retry(policy) { asker.send(request) }
                    .addCallback { response in
                        let status = response.status.code
                        return response.body.collect(limitBytes: 1 << 22)
                            .addCallback { body in
                                let text = String(decoding: body)
                                found.append("\(status) \(text == Folder.text ? "all" : text)")
                            }
                    }
                    .addTimeout(.seconds(20))
                    .addBoth { outcome in
                        if case .failure(let error) = outcome { found.append("\(error)") }
                        ask(rest.dropFirst())
                    }
            }
            ask(requests[...])
        }
        #expect(connectionCount <= 1)
        return found
    }

    @Test(.enabled(if: hasPython, "python3 is not installed"), arguments: ["HTTP/1.0", "HTTP/1.1"])
    func `Python's http.server is understood`(version: String) throws {
        let folder = try Folder()
        let server = try Program(
            path: "python3",
            [
                "-u", "-m", "http.server", "0", "--bind", "127.0.0.1", "--protocol", version,
                "--directory", folder.path,
            ])
        let line = server.readLine()
        let port = try #require(line.split(separator: " ").compactMap { Int($0) }.first, "\(line)")
        func url(_ path: String) throws -> HTTPURL {
            try HTTPURL(parsing: "http://127.0.0.1:\(port)\(path)")
        }
        let requests = [
            ClientRequest(try url("/a")), ClientRequest(try url("/a"), method: .head),
            ClientRequest(try url("/a")),
        ]
        #expect(try answers(requests) == ["200 all", "200 ", "200 all"])
        let missing = try answers([ClientRequest(try url("/none"))])
        #expect(missing.first?.hasPrefix("404 <!DOCTYPE") == true, "\(missing)")
        #expect(
            try answers(requests, by: url("/")) == ["200 all", "200 ", "200 all"])
        server.signal(SIGKILL)
        _ = server.wait()
    }

    @Test(.enabled(if: hasNginx, "nginx is not installed"))
    func `nginx is understood, over a UNIX socket, and behind a reverse proxy`() throws {
        let folder = try Folder()
        let path = folder.path
        try folder.write(
            "nginx.conf",
            """
            daemon off; master_process off; pid \(path)/pid; error_log stderr;
            events {}
            http {
              access_log off;
              client_body_temp_path \(path)/body; proxy_temp_path \(path)/proxy;
              fastcgi_temp_path \(path)/f; uwsgi_temp_path \(path)/u; scgi_temp_path \(path)/s;
              server {
                listen unix:\(path)/socket;
                root \(path);
                keepalive_timeout 5s;
                location /gz { alias \(path)/a; gzip on; gzip_types *; gzip_min_length 1; }
                location /echo { return 200 "$request_method $http_host $http_via"; }
                location /none { return 204; }
              }
            }
            """)
        let server = try Program(path: "/usr/sbin/nginx", ["-c", "\(path)/nginx.conf"])
        defer {
            server.signal(SIGTERM)
            _ = server.wait()
        }
        var options = HTTPClientOptions()
        options.endpoint = { _ in ClientEndpoint.unix(path: "\(path)/socket") }
        let base = try HTTPURL(parsing: "http://example.org")
        func request(_ path: String, _ method: HTTPMethod = .get) throws -> ClientRequest {
            ClientRequest(try base.resolving(path), method: method)
        }
        let requests = [
            try request("/a"), try request("/a", .head), try request("/none"),
            try request("/echo"), try request("/a"),
        ]
        #expect(
            try answers(requests, by: nil, options) == [
                "200 all", "200 ", "204 ", "200 GET example.org ", "200 all",
            ])
        let proxied = try answers(requests, by: base, options)
        #expect(proxied[0] == "200 all" && proxied[4] == "200 all" && proxied[2] == "204 ")
        #expect(proxied[3].hasSuffix(" 1.1 torsion"), "\(proxied)")
        // In chunks, since its length is not known.
        var zipped = try request("/gz")
        zipped.fields[.acceptEncoding] = "gzip"
        #expect(try answers([zipped], by: nil, options).first?.hasPrefix("200 \u{1f}") == true)
    }

    @Test(.enabled(if: hasAiohttp, "the Python module aiohttp is not installed"))
    func `aiohttp's server is understood, with bodies in chunks both ways`() throws {
        let script = """
            import asyncio, aiohttp.web as web
            async def echo(request):
                answer = web.StreamResponse()
                await answer.prepare(request)
                async for piece in request.content.iter_any(): await answer.write(piece)
                await answer.write_eof()
                return answer
            async def main():
                app = web.Application(client_max_size=1 << 30)
                app.router.add_route('*', '/', echo)
                runner = web.AppRunner(app)
                await runner.setup()
                site = web.TCPSite(runner, '127.0.0.1', 0)
                await site.start()
                print(site._server.sockets[0].getsockname()[1], flush=True)
                await asyncio.sleep(60)
            asyncio.run(main())
            """
        let server = try Program(path: "python3", ["-c", script])
        let port = try #require(Int(server.readLine()))
        let url = try HTTPURL(parsing: "http://127.0.0.1:\(port)/")
        let bytes = ClientRequest(url, method: .post, body: .bytes(Bytes(Folder.text)))
        #expect(try answers([bytes, bytes]) == ["200 all", "200 all"])
        #expect(try answers([bytes], by: url) == ["200 all"])
        server.signal(SIGKILL)
        _ = server.wait()
    }
}
