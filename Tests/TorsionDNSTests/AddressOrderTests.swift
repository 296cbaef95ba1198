// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

import Testing
import TorsionCore

@testable import TorsionDNS

/// The examples of RFC 6724 §10.2, as far as rules 1, 2, 5, 6, 8 and 9 decide them.
@Suite struct AddressOrderTests {
    private static func address(_ text: String) -> SocketAddress {
        SocketAddress(host: text, port: 0)!
    }

    @Test(arguments: [
        // Destinations with the sources by which they are reached, the preferred first.
        [("2001:db8:1::1", "2001:db8:1::2"), ("198.51.100.121", "169.254.13.78")],
        [("198.51.100.121", "198.51.100.117"), ("2001:db8:1::1", "fe80::1")],
        [("2001:db8:1::1", "2001:db8:1::2"), ("10.1.2.3", "10.1.2.4")],
        [("fe80::1", "fe80::2"), ("2001:db8:1::1", "2001:db8:1::2")],
        [("2001:db8:1::1", "2001:db8:1::2"), ("2002:c633:6401::1", "2002:c633:6401::2")],
        [("2001:db8:1::1", "2001:db8:1::2"), ("2001:db8:3ffe::1", "2001:db8:3f44::2")],
        [("10.0.0.1", "10.0.0.2"), ("2001:db8::1", "")],
        [("192.0.2.1", "10.0.0.2"), ("fc00::1", "2001:db8::9")],
        [("::1", "::1"), ("127.0.0.1", "127.0.0.1")],
    ])
    func `N-90: destinations are ordered by how they are reached`(
        places: [(destination: String, source: String)]
    ) {
        let ratings = places.map { place in
            AddressRating(
                Self.address(place.destination),
                source: place.source.isEmpty ? nil : Self.address(place.source))
        }
        let wanted = places.map(\.destination)
        #expect(AddressRating.sorted(ratings).map(\.address.host) == wanted)
        #expect(AddressRating.sorted(ratings.reversed()).map(\.address.host) == wanted)
    }

    @Test func `N-91: what no rule tells apart stays in the order of the answer`() {
        let source = Self.address("10.0.0.1")
        let ratings = ["192.0.2.3", "192.0.2.1", "192.0.2.2"].map {
            AddressRating(Self.address($0), source: source)
        }
        #expect(
            AddressRating.sorted(ratings).map(\.address.host) == [
                "192.0.2.3", "192.0.2.1", "192.0.2.2",
            ])
    }
}
