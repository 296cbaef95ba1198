// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

import Testing

@testable import TorsionCore

struct WaitingLineTests {
    @Test func `first in, first out, and who leaves is skipped`() {
        var line = WaitingLine<String>()
        let numbers = ["a", "b", "c"].map { name in
            defer { line.append(name) }
            return line.nextNumber
        }
        #expect(line.remove(numbers[1]) == "b")
        #expect(line.remove(numbers[1]) == nil)
        #expect(line.count == 2)
        #expect(line.popFirst() == "a")
        #expect(line.remove(numbers[0]) == nil)
        #expect(line.popFirst() == "c")
        #expect(line.popFirst() == nil)
        #expect(line.isEmpty)
    }

    @Test(arguments: 1...20 as ClosedRange<UInt64>)
    func `a line does what an array does`(seed: UInt64) {
        var random = SplitMix64(state: seed)
        var line = WaitingLine<UInt64>()
        var model: [UInt64] = []
        for _ in 0..<2_000 {
            switch Int.random(in: 0..<5, using: &random) {
            case 0, 1:
                model.append(line.nextNumber)
                line.append(line.nextNumber)
            case 2:
                #expect(line.popFirst() == (model.isEmpty ? nil : model.removeFirst()))
            default:
                // Also numbers that have left, and that nobody has drawn yet.
                let number = UInt64.random(in: 0...line.nextNumber, using: &random)
                let place = model.firstIndex(of: number)
                #expect(line.remove(number) == place.map { model.remove(at: $0) })
            }
            #expect(line.count == model.count, "seed \(seed)")
        }
    }

    @Test func `a line whose middle leaves again and again stays as long as what stands in it`() {
        var line = WaitingLine<Int>()
        line.append(0)
        for number in 1...100_000 as ClosedRange<UInt64> {
            line.append(1)
            #expect(line.remove(number) == 1)
        }
        #expect(line.placeCount <= 16)
    }
}
