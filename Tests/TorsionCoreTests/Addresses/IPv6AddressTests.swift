// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

import Testing
import TorsionCore

@Suite struct IPv6AddressTests {
    /// What RFC 5952 §1 to §5 give as examples, and the edges of `::`.
    @Test(arguments: [
        ("::", "::"), ("::1", "::1"), ("1::", "1::"), ("0:0:0:0:0:0:0:0", "::"),
        ("2001:db8:0:0:1:0:0:1", "2001:db8::1:0:0:1"), ("2001:DB8::1", "2001:db8::1"),
        ("2001:0db8:0000:0000:0001:0000:0000:0001", "2001:db8::1:0:0:1"),
        ("2001:db8:0:1:1:1:1:1", "2001:db8:0:1:1:1:1:1"),
        ("2001:db8::1:1:1:1:1", "2001:db8:0:1:1:1:1:1"), ("2001:db8:0:0:0:0:2:1", "2001:db8::2:1"),
        ("2001:0:0:1:0:0:0:1", "2001:0:0:1::1"), ("1:2:3:4:5:6:7::", "1:2:3:4:5:6:7:0"),
        ("::2:3:4:5:6:7:8", "0:2:3:4:5:6:7:8"), ("1:0:0:4:5:6:0:0", "1::4:5:6:0:0"),
        ("::ffff:192.0.2.1", "::ffff:192.0.2.1"), ("::ffff:c000:201", "::ffff:192.0.2.1"),
        ("64:ff9b::192.0.2.33", "64:ff9b::c000:221"),
        ("1:2:3:4:5:6:1.2.3.4", "1:2:3:4:5:6:102:304"),
        ("fe80::1%2", "fe80::1%2"), ("fe80::1%0", "fe80::1"),
        ("::ffff:1.2.3.4%7", "::ffff:1.2.3.4%7"),
        (
            "ffff:ffff:ffff:ffff:ffff:ffff:255.255.255.255",
            "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"
        ),
    ])
    func `every form is read, one is written`(text: String, canonical: String) {
        let address = IPv6Address(text)
        #expect(address?.description == canonical)
        #expect(IPv6Address(canonical) == address)
    }

    @Test(arguments: [
        "", ":", ":::", "1", "1:2:3:4:5:6:7", "1:2:3:4:5:6:7:8:9", "1:2:3:4:5:6:7:8::",
        "::1:2:3:4:5:6:7:8", "1::2::3", ":1::2", "1::2:", ":1:2:3:4:5:6:7", "1:2:3:4:5:6:7:",
        "12345::", "g::", "-1::", "+1::", "::1.2.3", "::1.2.3.256", "::01.2.3.4", "1.2.3.4::",
        "1.2.3.4",
        "::1.2.3.4:5", "1:2:3:4:5:6:7:1.2.3.4", "[::1]", "::1 ", "::1%", "::1%eth0", "::1%-1",
        "::1%4294967296", "::1%1%1", "%1", "::1/64",
    ])
    func `whatever is not an address is refused`(text: String) {
        #expect(IPv6Address(text) == nil)
    }

    @Test func `any address is read back from its text`() {
        var random = SplitMix64(state: 5)
        for _ in 0..<500 {
            // Masks make runs of zeros likely.
            let high = random.next() & random.next() & mask(&random)
            let low = random.next() & mask(&random)
            let address = IPv6Address(high: high, low: low, scopeID: UInt32(random.next() % 3))
            #expect(IPv6Address(address.description) == address)
        }
    }

    private func mask(_ random: inout SplitMix64) -> UInt64 {
        [48, 32, 16, 0].reduce(0) { mask, shift in
            Bool.random(using: &random) ? mask | 0xffff << shift : mask
        }
    }

    @Test func `an address knows what it is for`() {
        #expect(IPv6Address.loopback.isLoopback)
        #expect(IPv6Address("ff02::1")!.isMulticast)
        #expect(IPv6Address("fe80::1%3")!.isLinkLocal)
        #expect(IPv6Address("febf::1")!.isLinkLocal)
        #expect(!IPv6Address("fec0::1")!.isLinkLocal)
        #expect(IPv6Address(mapping: .loopback).mappedIPv4 == .loopback)
        #expect(IPv6Address.loopback.mappedIPv4 == nil)
    }
}
