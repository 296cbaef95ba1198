// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

import Testing
import TorsionCore

@Suite struct IPv4AddressTests {
    @Test(
        arguments: [
            ("0.0.0.0", 0), ("127.0.0.1", 0x7f00_0001), ("255.255.255.255", 0xffff_ffff),
            ("192.0.2.10", 0xc000_020a),
        ] as [(String, UInt32)])
    func `a dotted quad is read and written alike`(text: String, bits: UInt32) {
        #expect(IPv4Address(text)?.bits == bits)
        #expect(IPv4Address(bits: bits).description == text)
    }

    @Test(arguments: [
        "", ".", "1", "1.2.3", "1.2.3.", ".1.2.3", "1.2.3.4.", "1.2.3.4.5", "1..2.3", "256.0.0.1",
        "01.2.3.4", "1.2.3.00", "0x1.2.3.4", "+1.2.3.4", "-1.2.3.4", " 1.2.3.4", "1.2.3.4 ",
        "1.2.3.4\0", "1.2.3.99999999999999999999", "１.2.3.4", "localhost", "2130706433",
    ])
    func `whatever is not a strict dotted quad is refused`(text: String) {
        #expect(IPv4Address(text) == nil)
    }

    @Test func `an address knows what it is for`() {
        #expect(IPv4Address.loopback.isLoopback)
        #expect(IPv4Address(127, 255, 0, 9).isLoopback)
        #expect(!IPv4Address(128, 0, 0, 1).isLoopback)
        #expect(IPv4Address(224, 0, 0, 1).isMulticast)
        #expect(IPv4Address(239, 255, 255, 255).isMulticast)
        #expect(!IPv4Address(240, 0, 0, 0).isMulticast)
    }
}
