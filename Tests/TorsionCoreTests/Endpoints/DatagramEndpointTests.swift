// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

import Testing
import TorsionCore

@Suite struct DatagramEndpointTests {
    @Test func `endpoints are read from text`() throws {
        let some = try DatagramEndpoint(parsing: "udp:9000")
        #expect(some.address == .ipv4(.any, port: 9000))
        #expect(some == .udp(port: 9000))
        #expect(try DatagramEndpoint(parsing: "udp6:53").address == .ipv6(.any, port: 53))
        let one = try DatagramEndpoint(
            parsing: #"udp:0:interface=[::1]:peer=[::1]\:53:broadcast=yes"#)
        #expect(one.address == .ipv6(.loopback, port: 0))
        #expect(one.options.peerAddress == .ipv6(.loopback, port: 53))
        #expect(one.options.allowsBroadcast && !one.options.reusePort)
        let alone = try DatagramEndpoint(parsing: "udp:0:shared=no")
        #expect(!alone.options.isSharedInGroup && one.options.isSharedInGroup)
        #expect("\(alone)" == "udp:0:shared=no")
        let file = try DatagramEndpoint(parsing: "unix-datagram:/run/log.socket:mode=600")
        #expect(file.address == .unix(.path("/run/log.socket")))
        #expect(file.options.unixMode == 0o600)
        #expect(
            try DatagramEndpoint(parsing: "unix-datagram:@log").address
                == .unix(.abstract(Array("log".utf8))))
        #expect("\(some)" == "udp:9000")
        #expect(try DatagramEndpoint(parsing: "udp:port=9000") == some)
        let adopted = try DatagramEndpoint(parsing: "fd:3:broadcast=yes")
        #expect(adopted.address == nil && adopted.options.allowsBroadcast)
        #expect(try DatagramEndpoint(parsing: "fd:4") == .adopted(descriptor: 4))
        #expect(try DatagramEndpoint(parsing: "systemd:log") == .systemd(name: "log"))
        #expect(try DatagramEndpoint(parsing: "systemd:index=2") == .systemd(index: 2))
    }

    @Test(arguments: [
        (
            "upd:9000",
            "unknown endpoint type 'upd': allowed are udp, udp6, unix-datagram, fd, systemd"
        ),
        ("udp", "an endpoint of type 'udp' needs a port, as in 'udp:9000:interface=127.0.0.1'"),
        ("udp:70000", "'70000' is no valid port: allowed is 0 to 65535"),
        (
            "udp:1:nodelay=no",
            "an endpoint of type 'udp' has no option 'nodelay':"
                + " allowed are port, interface, peer, broadcast, reuseport, reuseaddress, shared"
        ),
        (
            "udp:1:2",
            "'2' is one part too many for an endpoint of type 'udp',"
                + " as in 'udp:9000:interface=127.0.0.1'"
        ),
        (
            "udp:1:peer=example.org",
            #"'example.org' is no valid peer: allowed is an address and a port, as in 127.0.0.1\:53"#
        ),
        (
            "unix-datagram:",
            "an endpoint of type 'unix-datagram' needs a path,"
                + " as in 'unix-datagram:/run/log.socket'"
        ),
        (
            "fd:3:reuseport=yes",
            "an endpoint of type 'fd' has no option 'reuseport': allowed are descriptor, peer, broadcast"
        ),
        (
            "unix-datagram:/x:mode=9",
            "'9' is no valid mode: allowed is three octal digits, as in 600"
        ),
    ])
    func `a wrong text says what is allowed`(text: String, sentence: String) {
        #expect {
            try DatagramEndpoint(parsing: text)
        } throws: { error in
            "\(error)" == sentence
        }
    }
}
