// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

import Testing

@testable import TorsionCore

@Suite struct KeptBytesTests {
    /// Uses one byte of each delivery, and gives the rest back.
    @Test(arguments: [1, 2, 1_000, 65_536])
    func `what is given back byte by byte is copied twice at most`(byteCount: Int) {
        let kept = KeptBytes()
        let all = (0..<byteCount).map { UInt8(truncatingIfNeeded: $0 &* 7) }
        kept.append(Bytes(all).span)
        var used: [UInt8] = []
        while !kept.isEmpty {
            kept.deliver { bytes in
                used.append(bytes[0])
                if bytes.byteCount > 1 { kept.append(bytes.extracting(1...)) }
            }
        }
        #expect(used == all)
        #expect(kept.copiedByteCount <= 2 * byteCount)
    }

    @Test func `pieces that are appended one by one are copied once`() {
        let kept = KeptBytes()
        for index in 0..<10_000 { kept.append(Bytes([UInt8(truncatingIfNeeded: index)]).span) }
        #expect(kept.copiedByteCount == 10_000 && kept.byteCount == 10_000)
    }

    @Test func `bytes keep their order, whoever keeps them and when`() {
        let kept = KeptBytes()
        kept.append(Bytes("cdef").span)
        kept.prepend(Bytes("ab").span)
        kept.deliver { bytes in
            #expect(String(decoding: bytes) == "abcdef")
            kept.append(bytes.extracting(2..<4))
            kept.append(Bytes("gh").span)
            kept.prepend(Bytes("xy").span)
        }
        kept.deliver { bytes in
            #expect(String(decoding: bytes) == "xycdgh")
            #expect(kept.isEmpty && kept.byteCount == 0)
            kept.append(bytes.extracting(5...))
            kept.append(bytes.extracting(0..<1))
        }
        kept.deliver { #expect(String(decoding: $0) == "hx") }
        #expect(kept.isEmpty)
    }

    @Test func `a delivery inside another keeps what each gives back`() {
        let kept = KeptBytes()
        kept.append(Bytes("abc").span)
        kept.deliver { outer in
            kept.append(outer.extracting(1...))
            kept.append(Bytes("de").span)
            kept.deliver { inner in
                #expect(String(decoding: inner) == "de")
                kept.append(inner.extracting(1...))
            }
        }
        kept.deliver { #expect(String(decoding: $0) == "bce") }
    }

    @Test(arguments: 1...20 as ClosedRange<UInt64>)
    func `it behaves as an array of bytes would`(seed: UInt64) {
        var random = SplitMix64(state: seed)
        let kept = KeptBytes()
        var model: [UInt8] = []
        var next: UInt8 = 0
        func make(_ count: Int) -> [UInt8] {
            (0..<count).map { _ in
                next &+= 1
                return next
            }
        }
        for _ in 0..<300 {
            let piece = make(Int.random(in: 0..<40, using: &random))
            switch Int.random(in: 0..<4, using: &random) {
            case 0:
                kept.append(Bytes(piece).span)
                model += piece
            case 1:
                kept.prepend(Bytes(piece).span)
                model = piece + model
            default:
                let expected = model
                kept.deliver { bytes in
                    #expect([UInt8](bytes) == expected)
                    let low = Int.random(in: 0...bytes.byteCount, using: &random)
                    let high = Int.random(in: low...bytes.byteCount, using: &random)
                    kept.append(bytes.extracting(low..<high))
                    model = Array(expected[low..<high])
                    guard Bool.random(using: &random) else { return }
                    kept.append(Bytes(piece).span)
                    model += piece
                }
            }
            #expect(kept.byteCount == model.count)
        }
    }
}
