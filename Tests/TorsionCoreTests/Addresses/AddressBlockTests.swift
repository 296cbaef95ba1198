// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

import Testing
import TorsionCore

@Suite struct AddressBlockTests {
    @Test(arguments: [
        ("10.0.0.0/8", "10.255.255.255:1", true), ("10.0.0.0/8", "11.0.0.0:1", false),
        ("10.0.0.0/8", "[::ffff:10.1.2.3]:1", true), ("10.0.0.0/8", "[::10.1.2.3]:1", false),
        ("192.0.2.7", "192.0.2.7:9", true), ("192.0.2.7", "192.0.2.8:9", false),
        ("0.0.0.0/0", "203.0.113.9:1", true), ("0.0.0.0/0", "[2001:db8::1]:1", false),
        ("0.0.0.0/0", "unix:/a", false),
        ("2001:db8::/32", "[2001:db8:ffff::1]:1", true), ("2001:db8::/32", "[2001:db9::]:1", false),
        ("2001:db8::/65", "[2001:db8::7fff:0:0:1]:1", true),
        ("2001:db8::/65", "[2001:db8::8000:0:0:1]:1", false),
        ("::1", "[::1]:1", true), ("::1", "[::2]:1", false), ("::/0", "[fe80::1%3]:1", true),
        ("::/0", "[::ffff:192.0.2.1]:1", false), ("fe80::/64", "[fe80::1%3]:1", true),
        ("unix", "unix:@name", true), ("unix", "127.0.0.1:1", false),
    ])
    func `a block contains its addresses and no others`(
        block: String, address: String, isIn: Bool
    ) throws {
        let block = try #require(AddressBlock(block))
        #expect(block.contains(try #require(SocketAddress(address))) == isIn)
    }

    @Test(arguments: [
        "", "/", "10.0.0.0/", "10.0.0.0/33", "10.0.0.1/8", "10.0.0.0/08", "10.0.0.0/8/8",
        "10.0.0/8", "::/129", "::1/64", "fe80::1%2", "::ffff:10.0.0.0/104", "example.org", "unix/0",
    ])
    func `what is no block is refused`(text: String) {
        #expect(AddressBlock(text) == nil)
    }

    @Test func `a block's text is read as the same block`() throws {
        for text in ["10.0.0.0/8", "0.0.0.0/0", "2001:db8::/32", "::1/128", "unix"] {
            #expect(AddressBlock(text)?.description == text)
        }
        #expect(AddressBlock("192.0.2.7")?.description == "192.0.2.7/32")
        let local = AddressBlock.local
        #expect(local.contains { $0.contains(.ipv4(IPv4Address(127, 9, 9, 9), port: 1)) })
        #expect(local.contains { $0.contains(.ipv6(.loopback, port: 1)) })
    }
}
