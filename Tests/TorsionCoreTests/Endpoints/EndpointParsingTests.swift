// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

import Testing
import TorsionCore

private typealias Change = (inout StreamOptions) -> Void

private func options(_ change: Change) -> StreamOptions {
    var options = StreamOptions()
    change(&options)
    return options
}

private func server(_ address: String, _ change: Change = { _ in }) -> ServerEndpoint {
    .address(SocketAddress(address)!, options: options(change))
}

private func client(_ address: String, _ change: Change = { _ in }) -> ClientEndpoint {
    .address(SocketAddress(address)!, options: options(change))
}

private let longest = "/" + String(repeating: "x", count: UnixAddress.maximumByteCount - 1)
private let tooLong = longest + "x"

@Suite struct EndpointParsingTests {
    // MARK: What is understood

    @Test(
        arguments: [
            ("tcp:8080", server("0.0.0.0:8080")),
            ("tcp:0", server("0.0.0.0:0")),
            ("tcp:65535", server("0.0.0.0:65535")),
            ("tcp:80:interface=127.0.0.1", server("127.0.0.1:80")),
            ("tcp:interface=127.0.0.1:80", server("127.0.0.1:80")),
            ("tcp:80:interface=[::1]", server("[::1]:80")),
            (#"tcp:80:interface=\:\:1"#, server("[::1]:80")),
            ("tcp6:80", server("[::]:80")),
            ("fd:3", .adopted(descriptor: 3)),
            ("systemd:echo.socket", .systemd(name: "echo.socket")),
            ("systemd:index=2", .systemd(index: 2)),
            ("tcp6:80:interface=[fe80::1%3]", server("[fe80::1%3]:80")),
            ("tcp:80:backlog=5", server("0.0.0.0:80") { $0.backlog = 5 }),
            ("tcp:80:reuseport=yes", server("0.0.0.0:80") { $0.reusePort = true }),
            ("tcp:80:reuseport=no:nodelay=yes", server("0.0.0.0:80")),
            ("tcp:80:nodelay=no", server("0.0.0.0:80") { $0.noDelay = false }),
            (
                "tcp:80:keepalive=no",
                server("0.0.0.0:80") { $0.keepAlive = nil }
            ),
            (
                "tcp:80:keepalive=90",
                server("0.0.0.0:80") { $0.keepAlive = .init(idle: .seconds(90)) }
            ),
            (
                "tcp6:80:keepalive=32767:backlog=65535:reuseport=yes:nodelay=no",
                server("[::]:80") {
                    $0.keepAlive = .init(idle: .seconds(32_767))
                    $0.backlog = 65_535
                    $0.reusePort = true
                    $0.noDelay = false
                }
            ),
            ("unix:/run/a.socket", server("unix:/run/a.socket")),
            ("unix:relative", server("unix:relative")),
            ("unix:\(longest)", server("unix:\(longest)")),
            ("unix:/é/ü", server("unix:/é/ü")),
            (#"unix:/a\:b\=c\\d"#, server(#"unix:/a:b=c\d"#)),
            ("unix:/a[b", server("unix:/a[b")),
            ("unix:/a[b:mode=600", server("unix:/a[b") { $0.unixMode = 0o600 }),
            ("unix:/a:mode=0640", server("unix:/a") { $0.unixMode = 0o640 }),
            (
                "unix:/a:mode=000:backlog=1",
                server("unix:/a") {
                    $0.unixMode = 0; $0.backlog = 1
                }
            ),
            ("unix:@name", server("unix:@name")),
            ("unix:@a@b", server("unix:@a@b")),
            ("tcp:port=80", server("0.0.0.0:80")),
            (
                "tcp:interface=127.0.0.1:backlog=5:port=80",
                server("127.0.0.1:80") { $0.backlog = 5 }
            ),
            ("tcp6:port=80", server("[::]:80")),
            ("unix:path=/a:mode=600", server("unix:/a") { $0.unixMode = 0o600 }),
            ("fd:descriptor=3", .adopted(descriptor: 3)),
            ("systemd:name=echo.socket", .systemd(name: "echo.socket")),
            ("pipe:3:4", .open(input: 3, output: 4)),
            ("pipe:5:5", .open(input: 5, output: 5)),
            ("pipe:input=3", .open(input: 3, output: nil)),
            ("pipe:output=0", .open(input: nil, output: 0)),
            ("pipe:output=4:input=3", .open(input: 3, output: 4)),
            ("stdio:", .standardStreams),
            ("stdio", .standardStreams),
        ] as [(String, ServerEndpoint)])
    func `a server's text is understood`(text: String, endpoint: ServerEndpoint) throws {
        #expect(try ServerEndpoint(parsing: text) == endpoint)
    }

    @Test(
        arguments: [
            ("tcp:127.0.0.1:80", client("127.0.0.1:80")),
            ("tcp:[::1]:80", client("[::1]:80")),
            (#"tcp:\:\:1:80"#, client("[::1]:80")),
            ("tcp:[fe80::1%2]:80", client("[fe80::1%2]:80")),
            ("tcp:[::ffff:127.0.0.1]:80", client("[::ffff:127.0.0.1]:80")),
            ("tcp:example.org:80", .tcp(host: "example.org", port: 80)),
            ("tcp:xn--bcher-kva.example:65535", .tcp(host: "xn--bcher-kva.example", port: 65_535)),
            ("tcp:localhost:1", .tcp(host: "localhost", port: 1)),
            // Not in the form of four numbers: a name, which the resolver then refuses.
            ("tcp:127.1:80", .tcp(host: "127.1", port: 80)),
            (
                "tcp:127.0.0.1:80:timeout=1",
                client("127.0.0.1:80") { $0.connectTimeout = .seconds(1) }
            ),
            (
                "tcp:127.0.0.1:80:timeout=86400",
                client("127.0.0.1:80") { $0.connectTimeout = .seconds(86_400) }
            ),
            (
                "tcp:127.0.0.1:80:bindAddress=127.0.0.2",
                client("127.0.0.1:80") { $0.bindAddress = SocketAddress("127.0.0.2:0") }
            ),
            (
                "tcp:[::1]:80:bindAddress=[fe80::1%2]",
                client("[::1]:80") { $0.bindAddress = SocketAddress("[fe80::1%2]:0") }
            ),
            (
                "tcp:127.0.0.1:80:nodelay=no:keepalive=1",
                client("127.0.0.1:80") {
                    $0.noDelay = false
                    $0.keepAlive = .init(idle: .seconds(1))
                }
            ),
            ("unix:/run/a.socket", client("unix:/run/a.socket")),
            ("tcp:host=example.org:port=80", .tcp(host: "example.org", port: 80)),
            ("tcp:port=80:[::1]", client("[::1]:80")),
            ("unix:path=@name", client("unix:@name")),
            ("unix:@name:timeout=3", client("unix:@name") { $0.connectTimeout = .seconds(3) }),
        ] as [(String, ClientEndpoint)])
    func `a client's text is understood`(text: String, endpoint: ClientEndpoint) throws {
        #expect(try ClientEndpoint(parsing: text) == endpoint)
    }

    // MARK: What is refused, and how it is said

    private static let serverTypes = "allowed are tcp, tcp6, unix, stdio, fd, pipe, systemd"
    private static let serverOptions =
        "allowed are port, interface, backlog, reuseport, nodelay, keepalive"
    private static let asServer = "as in 'tcp:8080:interface=127.0.0.1'"
    private static let asUnix = "as in 'unix:/run/echo.socket'"
    private static let portRange = "is no valid port: allowed is 0 to 65535"
    private static let interfaces =
        "is no valid interface: allowed is an IPv4 address, or an IPv6 address as in [::1]"
    private static let modes = "is no valid mode: allowed is three octal digits, as in 600"
    private static let paths =
        "is no valid path: allowed is 1 to 107 bytes, or @ and an abstract name"

    @Test(arguments: [
        ("", "an endpoint begins with its type: \(serverTypes)"),
        (":80", "an endpoint begins with its type: \(serverTypes)"),
        ("udp:80", "unknown endpoint type 'udp': \(serverTypes)"),
        ("TCP:80", "unknown endpoint type 'TCP': \(serverTypes)"),
        (" tcp:80", "unknown endpoint type ' tcp': \(serverTypes)"),
        ("x=tcp:80", "unknown endpoint type 'x=tcp': \(serverTypes)"),
        ("a\nb:80", #"unknown endpoint type 'a\nb': \#(serverTypes)"#),
        ("tcp", "an endpoint of type 'tcp' needs a port, \(asServer)"),
        ("tcp:", "an endpoint of type 'tcp' needs a port, \(asServer)"),
        ("tcp:interface=127.0.0.1", "an endpoint of type 'tcp' needs a port, \(asServer)"),
        ("tcp6:", "an endpoint of type 'tcp6' needs a port, as in 'tcp6:8080'"),
        ("tcp:65536", "'65536' \(portRange)"),
        ("tcp:-1", "'-1' \(portRange)"),
        ("tcp:+80", "'+80' \(portRange)"),
        ("tcp:080", "'080' \(portRange)"),
        ("tcp:80 ", "'80 ' \(portRange)"),
        ("tcp:http", "'http' \(portRange)"),
        ("tcp:٨٠", #"'\xd9\xa8\xd9\xa0' \#(portRange)"#),
        ("tcp:81:port=80", "'81' is one part too many for an endpoint of type 'tcp', \(asServer)"),
        ("tcp:port=", "an endpoint of type 'tcp' needs a port, \(asServer)"),
        ("tcp:80:81", "'81' is one part too many for an endpoint of type 'tcp', \(asServer)"),
        ("tcp:80:", "'' is one part too many for an endpoint of type 'tcp', \(asServer)"),
        ("tcp:80:interface=localhost", "'localhost' \(interfaces)"),
        ("tcp:80:interface=", "'' \(interfaces)"),
        ("tcp:80:interface=::1", "'' \(interfaces)"),
        ("tcp:80:interface=[127.0.0.1]", "'[127.0.0.1]' \(interfaces)"),
        ("tcp:80:interface=[::1", "'[::1' \(interfaces)"),
        ("tcp:80:interface=[fe80::1%eth0]", "'[fe80::1%eth0]' \(interfaces)"),
        (
            "tcp6:80:interface=127.0.0.1",
            "'127.0.0.1' is no valid interface: allowed is an IPv6 address as in [::1]"
        ),
        ("tcp:80:mode=600", "an endpoint of type 'tcp' has no option 'mode': \(serverOptions)"),
        ("tcp:80:=600", "an endpoint of type 'tcp' has no option '': \(serverOptions)"),
        ("tcp:80:Backlog=6", "an endpoint of type 'tcp' has no option 'Backlog': \(serverOptions)"),
        ("tcp:80:backlog=6:backlog=6", "the option 'backlog' is given twice"),
        ("tcp:80:a\tb=6:a\tb=6", #"the option 'a\tb' is given twice"#),
        ("tcp:80:backlog=0", "'0' is no valid backlog: allowed is 1 to 65535"),
        ("tcp:80:backlog=", "'' is no valid backlog: allowed is 1 to 65535"),
        ("tcp:80:reuseport=true", "'true' is no valid reuseport: allowed is yes or no"),
        ("tcp:80:nodelay=", "'' is no valid nodelay: allowed is yes or no"),
        ("tcp:80:keepalive=0", "'0' is no valid keepalive: allowed is 1 to 32767, or no"),
        ("tcp:80:keepalive=yes", "'yes' is no valid keepalive: allowed is 1 to 32767, or no"),
        ("tcp:80:keepalive=32768", "'32768' is no valid keepalive: allowed is 1 to 32767, or no"),
        (#"tcp:80\"#, #"'\\' is no valid escape: allowed is a backslash and one more character"#),
        ("unix:", "an endpoint of type 'unix' needs a path, \(asUnix)"),
        ("unix:mode=600", "an endpoint of type 'unix' needs a path, \(asUnix)"),
        ("unix:/a:/b", "'/b' is one part too many for an endpoint of type 'unix', \(asUnix)"),
        ("unix:@", "'@' \(paths)"),
        ("unix:/a\0b", #"'/a\x00b' \#(paths)"#),
        ("unix:\(tooLong)", "'\(tooLong.prefix(80))…' \(paths)"),
        ("unix:/a:mode=8", "'8' \(modes)"),
        ("unix:/a:mode=+60", "'+60' \(modes)"),
        ("unix:/a:mode=1777", "'1777' \(modes)"),
        ("unix:/a:mode=6", "'6' \(modes)"),
        ("unix:/a:mode=00600", "'00600' \(modes)"),
        (
            "unix:/a:nodelay=no",
            "an endpoint of type 'unix' has no option 'nodelay': allowed are path, mode, backlog"
        ),
        ("stdio:x", "'x' is one part too many for an endpoint of type 'stdio', as in 'stdio:'"),
        ("stdio:x=1", "an endpoint of type 'stdio' has no option 'x': allowed are none"),
        ("fd:", "an endpoint of type 'fd' needs a descriptor, as in 'fd:3'"),
        ("fd:-1", "'-1' is no valid descriptor: allowed is 0 to 2147483647"),
        ("pipe:", "an endpoint of type 'pipe' needs an input, as in 'pipe:3:4'"),
        ("pipe:3", "an endpoint of type 'pipe' needs an output, as in 'pipe:3:4'"),
        ("pipe:3:x", "'x' is no valid output: allowed is 0 to 2147483647"),
        (
            "pipe:input=3:4",
            "'4' is one part too many for an endpoint of type 'pipe', as in 'pipe:3:4'"
        ),
        ("systemd:", "an endpoint of type 'systemd' needs a name, as in 'systemd:echo.socket'"),
        ("systemd:index=4096", "'4096' is no valid index: allowed is 0 to 4095"),
        (
            "systemd:a:index=1",
            "'a' is one part too many for an endpoint of type 'systemd',"
                + " as in 'systemd:echo.socket'"
        ),
    ])
    func `a server's text is refused with a sentence`(text: String, sentence: String) {
        let error = #expect(throws: EndpointError.self) { try ServerEndpoint(parsing: text) }
        #expect(error?.description == sentence)
    }

    private static let clientTypes = "allowed are tcp, unix, fd, pipe"
    private static let asClient = "as in 'tcp:example.org:80'"
    private static let clientPort = "is no valid port: allowed is 1 to 65535"
    private static let hosts =
        "is no valid host: allowed is a name, an IPv4 address, or an IPv6 address as in [::1]"
    private static let ownAddresses =
        "is no valid bindAddress: allowed is an IPv4 address, or an IPv6 address as in [::1]"

    @Test(arguments: [
        ("", "an endpoint begins with its type: \(clientTypes)"),
        ("tcp6:[::1]:80", "unknown endpoint type 'tcp6': \(clientTypes)"),
        ("stdio:", "unknown endpoint type 'stdio': \(clientTypes)"),
        ("http://example.org", "unknown endpoint type 'http': \(clientTypes)"),
        ("tcp", "an endpoint of type 'tcp' needs a host, \(asClient)"),
        ("tcp::80", "an endpoint of type 'tcp' needs a host, \(asClient)"),
        ("tcp:example.org", "an endpoint of type 'tcp' needs a port, \(asClient)"),
        ("tcp:example.org:", "an endpoint of type 'tcp' needs a port, \(asClient)"),
        ("tcp:[::1:80", "an endpoint of type 'tcp' needs a port, \(asClient)"),
        ("tcp:example.org:0", "'0' \(clientPort)"),
        ("tcp:example.org:http", "'http' \(clientPort)"),
        ("tcp:example.org:80\n", #"'80\n' \#(clientPort)"#),
        (
            "tcp:example.org:80:81",
            "'81' is one part too many for an endpoint of type 'tcp', \(asClient)"
        ),
        ("tcp:[example.org]:80", "'[example.org]' \(hosts)"),
        ("tcp:[127.0.0.1]:80", "'[127.0.0.1]' \(hosts)"),
        ("tcp:[fe80::1%eth0]:80", "'[fe80::1%eth0]' \(hosts)"),
        ("tcp:[]:80", "'[]' \(hosts)"),
        ("tcp:a:80:timeout=0", "'0' is no valid timeout: allowed is 1 to 86400"),
        ("tcp:a:80:timeout=1.5", "'1.5' is no valid timeout: allowed is 1 to 86400"),
        ("tcp:a:80:timeout=86401", "'86401' is no valid timeout: allowed is 1 to 86400"),
        ("tcp:a:80:bindAddress=lo", "'lo' \(ownAddresses)"),
        ("tcp:a:80:bindAddress=[127.0.0.1]", "'[127.0.0.1]' \(ownAddresses)"),
        (
            "tcp:a:80:backlog=1",
            "an endpoint of type 'tcp' has no option 'backlog':"
                + " allowed are host, port, timeout, bindAddress, nodelay, keepalive"
        ),
        ("unix:", "an endpoint of type 'unix' needs a path, \(asUnix)"),
        (
            "unix:/a:mode=600",
            "an endpoint of type 'unix' has no option 'mode': allowed are path, timeout"
        ),
        ("unix:\(tooLong)", "'\(tooLong.prefix(80))…' \(paths)"),
    ])
    func `a client's text is refused with a sentence`(text: String, sentence: String) {
        let error = #expect(throws: EndpointError.self) { try ClientEndpoint(parsing: text) }
        #expect(error?.description == sentence)
    }

    /// Separators are bytes: what follows them in the text's letters does not hide them.
    @Test func `a mark that joins a separator does not hide it`() throws {
        let path = "\u{301}a"
        #expect(try ServerEndpoint(parsing: "unix:\(path)") == server("unix:\(path)"))
        #expect(
            try ServerEndpoint(parsing: "unix:a\\\r\n") == server("unix:a\r\n"),
            "one character for Swift, two for the kernel")
    }

    @Test func `a huge value is shown in part`() throws {
        let text = "tcp:" + String(repeating: "9", count: 1_000_000)
        let error = #expect(throws: EndpointError.self) { try ServerEndpoint(parsing: text) }
        let shown = String(repeating: "9", count: 80)
        #expect(error?.description == "'\(shown)…' \(Self.portRange)")
    }

    @Test func `a huge text is answered in linear time`() throws {
        // A quadratic reading of a million parts would take minutes.
        for text in [":", "=", "\\", "[", "a:", "x=", #"\\"#].map({
            String(repeating: $0, count: 100_000)
        }) {
            #expect(throws: EndpointError.self) { try ServerEndpoint(parsing: "tcp:80:" + text) }
            #expect(throws: EndpointError.self) { try ClientEndpoint(parsing: "tcp:a:80:" + text) }
        }
    }
}
