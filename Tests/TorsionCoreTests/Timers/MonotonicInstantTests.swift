// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

import Testing
import TorsionCore

private func at(_ nanoseconds: UInt64) -> MonotonicInstant {
    MonotonicInstant(nanoseconds: nanoseconds)
}

@Suite struct MonotonicInstantTests {
    @Test func `advancing adds whole nanoseconds, forwards and backwards`() {
        #expect(at(5).advanced(by: .nanoseconds(3)) == at(8))
        #expect(at(5).advanced(by: .nanoseconds(-3)) == at(2))
        #expect(at(0).advanced(by: .seconds(1)) == at(1_000_000_000))
        // Below and above 18.4 s, where a duration's attoseconds leave 64 bits.
        for seconds in [18, 19, 20, 3600, 1_000_000_000] as [Int64] {
            #expect(
                at(7).advanced(by: .seconds(seconds)).nanoseconds
                    == UInt64(seconds) * 1_000_000_000 + 7)
        }
    }

    @Test func `parts of a nanosecond are dropped`() {
        let part = Duration(attoseconds: 999_999_999)
        #expect(at(5).advanced(by: part) == at(5))
        #expect(at(5).advanced(by: .zero - part) == at(5))
    }

    @Test func `no duration overflows`() {
        let longest = Duration(attoseconds: .max)
        #expect(at(5).advanced(by: longest) == .distantFuture)
        #expect(at(5).advanced(by: Duration(attoseconds: .min)) == at(0))
        #expect(at(.max).advanced(by: .nanoseconds(1)) == .distantFuture)
        #expect(at(5).advanced(by: .nanoseconds(-6)) == at(0))
        #expect(at(5).advanced(by: .seconds(Int64.max)) == .distantFuture)
    }

    @Test func `the duration to another instant leads there`() {
        for (from, to) in [(0, UInt64.max), (UInt64.max, 0), (3, 10), (10, 3), (4, 4)] {
            #expect(at(from).advanced(by: at(from).duration(to: at(to))) == at(to))
        }
        #expect(at(3).duration(to: at(10)) == .nanoseconds(7))
        #expect(at(10).duration(to: at(3)) == .nanoseconds(-7))
    }

    @Test func `advancing agrees with arithmetic in 128 bits`() {
        var random = SplitMix64(state: 1)
        for _ in 0..<1000 {
            let bits = UInt64.random(in: 0...127, using: &random)
            let wide = Int128(random.next()) << 64 | Int128(random.next())
            let attoseconds = wide >> Int128(bits)
            let start = random.next() >> UInt64.random(in: 0...63, using: &random)
            let exact = Int128(start) + attoseconds / 1_000_000_000
            let expected = UInt64(clamping: exact)
            let result = at(start).advanced(by: Duration(attoseconds: attoseconds))
            #expect(result.nanoseconds == expected)
        }
    }
}
