// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

import TorsionCore
import TorsionProtocols

@c(LLVMFuzzerTestOneInput)
func fuzz(_ start: UnsafePointer<UInt8>?, _ count: Int) -> CInt {
    guard let input = FuzzInput(UnsafeRawBufferPointer(start: start, count: count)) else {
        return 0
    }
    expectSameFrames(input, mostHeld: 319) {
        let decoder = FrameDecoder(formats[input.choice % formats.count])
        return (
            { decoder.partialByteCount }, { decoder.takePartial() },
            { try decoder.decode($0, $1) }
        )
    }
    return 0
}

private let formats: [FrameFormat] = [
    .header(byteCount: 9, length: .uint24, limitBytes: 300),
    .header(byteCount: 5, length: .uint32, at: 1, counting: 4, limitBytes: 300),
    .header(byteCount: 19, length: .uint16, at: 16, counting: 19, limitBytes: 300),
    .header(byteCount: 8, length: .uint64.littleEndian, counting: 8, limitBytes: 300),
    .header(byteCount: 1, length: .uint8, counting: 1, limitBytes: 300),
]
