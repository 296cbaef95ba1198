// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

import Testing

@testable import TorsionProtocols

// RFC 3720 appendix B.4 has the vectors of the bytes; that of the digits is the usual check value.
@Test func `the checksum is that of Castagnoli`() {
    func checksum(_ bytes: [UInt8]) -> UInt32 { CRC32C.checksum(of: bytes, zeroing: 0..<0) }
    #expect(checksum(Array("123456789".utf8)) == 0xe306_9283)
    #expect(checksum([UInt8](repeating: 0, count: 32)) == 0x8a91_36aa)
    #expect(checksum([UInt8](repeating: 255, count: 32)) == 0x62a8_ab43)
    #expect(checksum((0..<32).map { $0 }) == 0x46dd_794e)
    #expect(
        CRC32C.checksum(of: [UInt8](repeating: 0, count: 31) + [9], zeroing: 31..<32)
            == 0x8a91_36aa)
}
