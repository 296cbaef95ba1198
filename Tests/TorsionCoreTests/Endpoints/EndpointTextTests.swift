// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

import Testing
import TorsionCore

/// Endpoints with whatever a text can say.
private struct EndpointDice {
    private var generator: SplitMix64

    init(seed: UInt64) { generator = SplitMix64(state: seed) }

    private mutating func number(_ range: ClosedRange<Int>) -> Int {
        Int.random(in: range, using: &generator)
    }

    private mutating func isTrue() -> Bool { number(0...1) == 1 }

    private mutating func ipv4() -> IPv4Address {
        isTrue() ? .any : IPv4Address("\(number(1...223)).0.\(number(0...255)).1")!
    }

    private mutating func ipv6() -> IPv6Address {
        switch number(0...3) {
        case 0: .any
        case 1: IPv6Address("::ffff:10.0.0.\(number(0...255))")!
        case 2: IPv6Address("fe80::\(number(1...9999))%\(number(1...100))")!
        default: IPv6Address("2001:db8::\(number(1...9)):0:\(number(1...9))")!
        }
    }

    private mutating func network(port: ClosedRange<Int>) -> SocketAddress {
        let port = UInt16(number(port))
        return isTrue() ? .ipv4(ipv4(), port: port) : .ipv6(ipv6(), port: port)
    }

    /// Letters that have a meaning are frequent.
    private mutating func word(_ count: ClosedRange<Int>) -> String {
        let letters = Array("a:=\\[]@é\u{301}\r\n./ %0,😀")
        return String((0..<number(count)).map { _ in letters[number(0...letters.count - 1)] })
    }

    private mutating func unix() -> SocketAddress {
        let word = word(1...12)
        if isTrue() { return .unix(.abstract(Array(word.utf8))) }
        return .unix(.path(word.utf8.first == UInt8(ascii: "@") ? "/" + word : word))
    }

    private mutating func socketOptions(_ options: inout StreamOptions) {
        options.noDelay = isTrue()
        switch number(0...2) {
        case 0: options.keepAlive = nil
        case 1: options.keepAlive = .init(idle: .seconds(number(1...32_767)))
        default: break
        }
    }

    mutating func server() -> ServerEndpoint {
        var endpoint: ServerEndpoint
        let kind = number(0...6)
        switch kind {
        case 0, 1: endpoint = .address(network(port: 0...65_535))
        case 2: endpoint = .address(unix())
        case 3: endpoint = .adopted(descriptor: Int32(number(0...9_999)))
        case 4 where isTrue(): endpoint = .systemd(name: word(1...9))
        case 4: endpoint = .systemd(index: number(0...4_095))
        case 6: return .open(input: isTrue() ? 3 : nil, output: Int32(number(0...9_999)))
        default: return .standardStreams
        }
        if kind != 2 { socketOptions(&endpoint.options) }
        if kind == 2, isTrue() { endpoint.options.unixMode = UInt16(number(0...0o777)) }
        if kind <= 2, isTrue() { endpoint.options.backlog = number(1...65_535) }
        if kind <= 1 { endpoint.options.reusePort = isTrue() }
        return endpoint
    }

    mutating func client() -> ClientEndpoint {
        var endpoint: ClientEndpoint
        let kind = number(0...4)
        switch kind {
        case 0: endpoint = .address(network(port: 1...65_535))
        case 4: return .open(input: Int32(number(0...9_999)), output: isTrue() ? 3 : nil)
        case 1: endpoint = .tcp(host: "h" + word(0...9), port: UInt16(number(1...65_535)))
        case 2: endpoint = .address(unix())
        default: endpoint = .adopted(descriptor: Int32(number(0...9_999)))
        }
        if kind != 2 { socketOptions(&endpoint.options) }
        if kind != 3, isTrue() { endpoint.options.connectTimeout = .seconds(number(1...86_400)) }
        if kind <= 1, isTrue() { endpoint.options.bindAddress = network(port: 0...0) }
        return endpoint
    }

    mutating func datagrams() -> DatagramEndpoint {
        var endpoint: DatagramEndpoint
        let kind = number(0...3)
        switch kind {
        case 0, 1: endpoint = .address(network(port: 0...65_535))
        case 2: endpoint = .address(unix())
        default: endpoint = isTrue() ? .adopted(descriptor: 5) : .systemd(name: word(1...9))
        }
        if kind == 2, isTrue() { endpoint.options.unixMode = UInt16(number(0...0o777)) }
        if kind != 2 { endpoint.options.allowsBroadcast = isTrue() }
        if kind != 2, isTrue() { endpoint.options.peerAddress = network(port: 0...65_535) }
        if kind <= 1 {
            endpoint.options.reusePort = isTrue()
            endpoint.options.reuseAddress = isTrue()
        }
        return endpoint
    }
}

@Suite struct EndpointTextTests {
    @Test(arguments: 0..<20)
    func `an endpoint's description is parsed as an equal endpoint`(seed: UInt64) throws {
        var dice = EndpointDice(seed: seed)
        for _ in 0..<100 {
            let server = dice.server(), client = dice.client(), port = dice.datagrams()
            #expect(try ServerEndpoint(parsing: "\(server)") == server, "\(server)")
            #expect(try ClientEndpoint(parsing: "\(client)") == client, "\(client)")
            #expect(try DatagramEndpoint(parsing: "\(port)") == port, "\(port)")
        }
    }

    /// In the shortest form, which is how people write them.
    @Test(arguments: [
        "tcp:80", "tcp6:80", "tcp:80:interface=127.0.0.1", "tcp:80:interface=[::1]:backlog=5",
        "unix:/run/a.socket:mode=060", "unix:@name", #"unix:/a\:b\=c\\d"#, #"unix:\[a"#, "stdio:",
        "fd:3:nodelay=no", "pipe:3:4", "pipe:input=3", "systemd:echo.socket",
        "systemd:index=2:keepalive=9",
        "tcp:80:reuseport=yes:nodelay=no:keepalive=no",
    ])
    func `a server's description is its text`(text: String) throws {
        #expect("\(try ServerEndpoint(parsing: text))" == text)
    }

    @Test(arguments: [
        "tcp:127.0.0.1:80", "tcp:[fe80::1%2]:80", "tcp:example.org:80:timeout=3",
        "tcp:example.org:80:bindAddress=[::1]:nodelay=no:keepalive=5", "unix:/a:timeout=5", "fd:3",
        "pipe:output=3",
    ])
    func `a client's description is its text`(text: String) throws {
        #expect("\(try ClientEndpoint(parsing: text))" == text)
    }

    @Test func `a description never means another place`() throws {
        let odd = ServerEndpoint.unix(path: "@a")
        #expect("\(odd)" == "unix:./@a", "a file, not an abstract name")
        var options = StreamOptions()
        options.connectTimeout = .milliseconds(5)
        options.keepAlive = .init(idle: .seconds(100_000))
        let client = ClientEndpoint.tcp(host: "a", port: 1, options: options)
        #expect("\(client)" == "tcp:a:1:timeout=1:keepalive=32767", "the nearest that it can say")
        #expect(throws: Never.self) { try ClientEndpoint(parsing: "\(client)") }
    }

    @Test(arguments: ["", ":", "=", "\\", "[a]", "a[b]", "\u{301}:", "a=b:c\\", "é", "@x"])
    func `an escaped part is read as it was`(part: String) throws {
        let escaped = EndpointParser.escaped(part)
        let path = try ServerEndpoint(parsing: "unix:/\(escaped):mode=600")
        var expected = ServerEndpoint.unix(path: "/" + part)
        expected.options.unixMode = 0o600
        #expect(path == expected)
        let name = try ServerEndpoint(parsing: "systemd:\(EndpointParser.escaped("x" + part))")
        #expect(name == .systemd(name: "x" + part))
        guard !part.isEmpty else { return }
        #expect(try ServerEndpoint(parsing: "systemd:\(escaped)") == .systemd(name: part))
    }

    @Test func `an endpoint has the name of its place`() throws {
        #expect(try ClientEndpoint(parsing: "tcp:example.org:80").name == "example.org:80")
        #expect(try ClientEndpoint(parsing: "tcp:[::1]:80").name == "[::1]:80")
        #expect(try ClientEndpoint(parsing: "tcp:[::1]:80").host == "::1")
        #expect(try ClientEndpoint(parsing: "unix:/a").name == "unix:/a")
        #expect(try ClientEndpoint(parsing: "unix:/a").host == nil)
        #expect(try ClientEndpoint(parsing: "fd:3").name == "descriptor 3")
    }
}
