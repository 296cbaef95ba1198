// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

import Testing
import TorsionCore

/// Asks a host for a name on top of TCP, as TLS does.
private struct NamedEndpoint: StreamClientEndpoint, Equatable {
    let below: ClientEndpoint
    let name: String

    func openStream(on reactor: Reactor) -> Deferred<ByteStream> { below.openStream(on: reactor) }
}

/// Listens with a key, on top of TCP.
private struct KeyedEndpoint: StreamServerEndpoint, Equatable {
    let below: ServerEndpoint
    let keys: [String]

    func listen(
        on reactor: Reactor, factory: any StreamProtocolFactory, layers: StreamLayers
    ) throws(IOError) -> ListeningPort {
        try below.listen(on: reactor, factory: factory, layers: layers)
    }
}

private let missing = IOError(.open, function: "open", code: .noSuchFile, subject: "key.pem")

private let parser = EndpointParser.standard
    .adding(server: "keyed", example: "keyed:443:key=P") { arguments in
        let below = try ServerEndpoint.tcp(reading: &arguments)
        let keys = try arguments.argument("key").split(separator: ",").map(String.init)
        if keys == ["absent"] { throw missing }
        return KeyedEndpoint(below: below, keys: keys)
    }
    .adding(client: "named", example: "named:example.org:443") { arguments in
        let below = try ClientEndpoint.tcp(reading: &arguments)
        return NamedEndpoint(below: below, name: arguments.option("name") ?? below.host ?? "")
    }
    .adding(client: "through", example: #"through:tcp\:proxy\:1080:name"#) { arguments in
        let proxy = try arguments.parser.client(parsing: try arguments.argument("proxy"))
        let rest = arguments.remainingArguments()
        guard let below = proxy as? ClientEndpoint else {
            throw EndpointError.invalid("proxy", value: "\(proxy)", allowed: "a standard one")
        }
        return NamedEndpoint(below: below, name: rest.joined(separator: "|"))
    }

@Suite struct EndpointParserTests {
    @Test func `the standard parser reads what the endpoints read`() throws {
        let server = try EndpointParser.standard.server(parsing: "tcp:80:backlog=5")
        #expect(try server as? ServerEndpoint == ServerEndpoint(parsing: "tcp:80:backlog=5"))
        let client = try EndpointParser.standard.client(parsing: "unix:/a")
        #expect(try client as? ClientEndpoint == ClientEndpoint(parsing: "unix:/a"))
    }

    @Test(
        arguments: [
            (
                "keyed:443:interface=127.0.0.1:backlog=7:key=a,b",
                KeyedEndpoint(
                    below: try ServerEndpoint(parsing: "tcp:443:interface=127.0.0.1:backlog=7"),
                    keys: ["a", "b"])
            ),
            (
                "keyed:443:/etc/key",
                KeyedEndpoint(below: .tcp(port: 443), keys: ["/etc/key"])
            ),
            (
                #"keyed:key=C\:\\k:port=443"#,
                KeyedEndpoint(below: .tcp(port: 443), keys: [#"C:\k"#])
            ),
        ] as [(String, KeyedEndpoint)])
    fileprivate func `a server's type that was added stands on another`(
        text: String, endpoint: KeyedEndpoint
    ) throws {
        #expect(try parser.server(parsing: text) as? KeyedEndpoint == endpoint)
    }

    @Test(
        arguments: [
            ("named:[::1]:443", "::1", "tcp:[::1]:443"),
            ("named:example.org:443", "example.org", "tcp:example.org:443"),
            ("named:127.0.0.1:443:name=a.org:timeout=5", "a.org", "tcp:127.0.0.1:443:timeout=5"),
            (#"through:unix\:/run/proxy"#, "", "unix:/run/proxy"),
            (#"through:tcp\:10.0.0.1\:1080:-v::x\=y"#, "-v||x=y", "tcp:10.0.0.1:1080"),
        ])
    func `a client's type that was added stands on another`(
        text: String, name: String, below: String
    ) throws {
        let endpoint = try parser.client(parsing: text)
        #expect(
            try endpoint as? NamedEndpoint
                == NamedEndpoint(below: ClientEndpoint(parsing: below), name: name))
    }

    @Test(arguments: [
        (
            "keyed:443", "an endpoint of type 'keyed' needs a key, as in 'keyed:443:key=P'"
        ),
        (
            "keyed:443:key=a:keys=b",
            "an endpoint of type 'keyed' has no option 'keys': allowed are"
                + " port, interface, backlog, reuseport, nodelay, keepalive, key"
        ),
        (
            "keyed:443:a:b",
            "'b' is one part too many for an endpoint of type 'keyed', as in 'keyed:443:key=P'"
        ),
        ("keyed:x:a", "'x' is no valid port: allowed is 0 to 65535"),
        ("keyed:1:absent", "an endpoint of type 'keyed' cannot be made: \(missing)"),
        (
            "named:a:1",
            "unknown endpoint type 'named': allowed are"
                + " tcp, tcp6, unix, stdio, fd, pipe, systemd, keyed"
        ),
    ])
    func `a type that was added refuses with a sentence`(text: String, sentence: String) {
        let error = #expect(throws: EndpointError.self) { try parser.server(parsing: text) }
        #expect(error?.description == sentence)
    }

    @Test func `a parser is a value`() throws {
        #expect(throws: EndpointError.self) {
            try EndpointParser.standard.server(parsing: "keyed:443:a")
        }
        let other = parser.adding(server: "keyed", example: "keyed:") { _ in
            ServerEndpoint.standardStreams
        }
        #expect(try other.server(parsing: "keyed:") as? ServerEndpoint == .standardStreams)
        #expect(try parser.server(parsing: "keyed:1:a") is KeyedEndpoint)
    }

    @Test func `numbers and flags of a type are read by their ranges`() throws {
        let counting = EndpointParser.standard.adding(client: "n", example: "n:1") { arguments in
            let port = try arguments.argument("port", in: 5...4_294_967_295)
            let extra = try arguments.option("extra", in: 0...1) ?? 7
            let flag = try arguments.flag("flag").map { $0 ? "yes" : "no" } ?? "none"
            return ClientEndpoint.unix(path: "\(port) \(extra) \(flag) \(arguments.type)")
        }
        func path(_ text: String) throws -> String? {
            (try counting.client(parsing: text) as? ClientEndpoint)?.name
        }
        #expect(try path("n:5") == "unix:5 7 none n")
        #expect(try path("n:4294967295:flag=no:extra=0") == "unix:4294967295 0 no n")
        #expect(try path("n:port=6:flag=yes:extra=1") == "unix:6 1 yes n")
        for text in ["n:4", "n:4294967296", "n:5:extra=2", "n:5:extra=", "n:5:flag=", "n:", "n:a"] {
            #expect(throws: EndpointError.self) { try path(text) }
        }
    }

    @Test func `a caller's mistake traps`() async {
        await #expect(processExitsWith: .failure) {
            _ = EndpointParser.standard.adding(client: "a:b", example: "") { _ in
                ClientEndpoint.unix(path: "/")
            }
        }
        await #expect(processExitsWith: .failure) {
            let parser = EndpointParser.standard.adding(client: "a", example: "") { arguments in
                ClientEndpoint.unix(path: "\(try arguments.argument("n", in: -1...5))")
            }
            _ = try parser.client(parsing: "a:1")
        }
    }
}
