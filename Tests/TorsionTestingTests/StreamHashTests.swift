// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

import Testing
import Torsion
import TorsionTesting

@Suite struct StreamHashTests {
    @Test func `a hash does not depend on the cuts`() {
        let bytes = [UInt8].pattern(count: 41)
        let whole = StreamHash(bytes)
        for first in 0...bytes.count {
            for second in first...bytes.count {
                var hash = StreamHash()
                hash.add(bytes.span.bytes.extracting(0..<first))
                hash.add(bytes.span.bytes.extracting(first..<second))
                hash.add(bytes.span.bytes.extracting(second..<bytes.count))
                #expect(hash == whole, "cut at \(first) and \(second)")
            }
        }
    }

    @Test func `a lost, doubled, changed or moved byte changes it`() {
        let bytes = [UInt8].pattern(count: 64)
        let whole = StreamHash(bytes)
        for index in bytes.indices {
            var other = bytes
            other.remove(at: index)
            #expect(StreamHash(other) != whole, "lost \(index)")
            other = bytes
            other.insert(bytes[index], at: index)
            #expect(StreamHash(other) != whole, "doubled \(index)")
            other = bytes
            other[index] ^= 0x80
            #expect(StreamHash(other) != whole, "changed \(index)")
            guard index > 0, bytes[index] != bytes[index - 1] else { continue }
            other = bytes
            other.swapAt(index, index - 1)
            #expect(StreamHash(other) != whole, "moved \(index)")
        }
    }

    @Test(arguments: [0, 1, 7, 8, 9, 1_000])
    func `a pattern has its length and its seed`(count: Int) {
        let bytes = [UInt8].pattern(count: count)
        #expect(bytes.count == count)
        #expect(bytes == .pattern(count: count))
        #expect(count < 8 || bytes != .pattern(count: count, seed: 2))
    }
}
