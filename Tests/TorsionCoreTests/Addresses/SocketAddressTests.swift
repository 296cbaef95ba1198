// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

import Testing
import TorsionCore

@Suite struct SocketAddressTests {
    @Test(
        arguments: [
            ("127.0.0.1:80", .ipv4(.loopback, port: 80)), ("0.0.0.0:0", .ipv4(.any, port: 0)),
            ("[::1]:65535", .ipv6(.loopback, port: 65535)),
            ("[fe80::1%2]:8007", .ipv6(IPv6Address("fe80::1%2")!, port: 8007)),
            ("unix:/run/app.socket", .unix(.path("/run/app.socket"))),
            ("unix:a:b", .unix(.path("a:b"))), ("unix:@name", .unix(.abstract(Array("name".utf8)))),
            ("unix:@", .unix(.abstract([]))),
        ] as [(String, SocketAddress)])
    func `an address is read and written alike`(text: String, address: SocketAddress) {
        #expect(SocketAddress(text) == address)
        #expect(address.description == text)
    }

    @Test(arguments: [
        "", ":", ":80", "127.0.0.1", "127.0.0.1:", "127.0.0.1:65536", "127.0.0.1:080",
        "127.0.0.1:-1", "127.0.0.1:http", "localhost:80", "::1:80", "[::1]", "[::1]80", "[::1:80",
        "::1]:80", "[127.0.0.1]:80", "unix:", "unix:a\0b", "unix", "127.0.0.1 :80",
    ])
    func `whatever is not an address is refused`(text: String) {
        #expect(SocketAddress(text) == nil)
    }

    @Test func `a UNIX name may be as long as the kernel takes it`() {
        let longest = String(repeating: "x", count: UnixAddress.maximumByteCount)
        #expect(SocketAddress("unix:\(longest)") != nil)
        #expect(SocketAddress("unix:\(longest)x") == nil)
        #expect(SocketAddress("unix:@\(longest)") != nil)
        #expect(SocketAddress("unix:@\(longest)x") == nil)
    }

    @Test func `an unprintable abstract name is shown without tricks`() {
        let address = UnixAddress.abstract([0, 0x61, 0x0a, 0x20, 0xff])
        #expect(address.description == #"@\x00a\n \xff"#)
        #expect(SocketAddress.unix(.unnamed).description == "unix:(unnamed)")
    }

    @Test func `what is no socket is its name, and has no other part`() {
        var address = SocketAddress.descriptor("fd:3 (a pipe)")
        address.port = 80
        #expect(address == .descriptor("fd:3 (a pipe)") && address.description == "fd:3 (a pipe)")
        #expect(address.port == nil && address.host == nil)
        #expect(SocketAddress(address.description) == nil)
        #expect(AddressBlock.unix.contains(address))
        #expect(AddressBlock("0.0.0.0/0")?.contains(address) == false)
        #expect(ServerEndpoint.address(address).description.isEmpty == false)
    }

    @Test func `a host's text is taken in either family, a name in none`() {
        #expect(SocketAddress(host: "127.0.0.1", port: 1) == .ipv4(.loopback, port: 1))
        #expect(SocketAddress(host: "::1", port: 1) == .ipv6(.loopback, port: 1))
        #expect(SocketAddress(host: "[::1]", port: 1) == nil)
        #expect(SocketAddress(host: "localhost", port: 1) == nil)
    }

    @Test func `the port can be read and replaced`() {
        var address = SocketAddress.ipv4(.loopback, port: 0)
        address.port = 8007
        #expect(address == .ipv4(.loopback, port: 8007))
        #expect(address.host == "127.0.0.1")
        var unix = SocketAddress.unix(.path("a"))
        unix.port = 1
        #expect(unix == .unix(.path("a")))
        #expect(unix.port == nil && unix.host == nil)
    }

    @Test func `what can only be this machine is local`() {
        #expect(SocketAddress.ipv6(IPv6Address(mapping: .loopback), port: 1).isLocal)
        #expect(SocketAddress.unix(.unnamed).isLocal)
        #expect(SocketAddress.descriptor("stdio:").isLocal)
        #expect(!SocketAddress.ipv4(.any, port: 1).isLocal)
    }
}
