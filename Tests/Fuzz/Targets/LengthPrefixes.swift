// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

import TorsionCore
import TorsionProtocols

@c(LLVMFuzzerTestOneInput)
func fuzz(_ start: UnsafePointer<UInt8>?, _ count: Int) -> CInt {
    guard let input = FuzzInput(UnsafeRawBufferPointer(start: start, count: count)) else {
        return 0
    }
    let choice = input.choice % (fields.count + 1)
    expectSameFrames(input, mostHeld: 310) {
        let decoder = FrameDecoder(
            choice == fields.count
                ? .varintPrefix(limitBytes: 300)
                : .lengthPrefix(fields[choice], limitBytes: 300))
        return (
            { decoder.partialByteCount }, { decoder.takePartial() },
            { try decoder.decode($0, $1) }
        )
    }
    return 0
}

private let fields: [LengthField] = [
    .uint8, .uint16, .uint24, .uint32, .uint64, .uint16.littleEndian, .uint32.littleEndian,
    .uint64.littleEndian,
]
