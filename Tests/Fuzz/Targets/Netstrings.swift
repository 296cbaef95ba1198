// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

import TorsionCore
import TorsionProtocols

@c(LLVMFuzzerTestOneInput)
func fuzz(_ start: UnsafePointer<UInt8>?, _ count: Int) -> CInt {
    guard let input = FuzzInput(UnsafeRawBufferPointer(start: start, count: count)) else {
        return 0
    }
    expectSameFrames(input, mostHeld: 304) {
        let decoder = FrameDecoder(.netstring(limitBytes: [1, 9, 10, 300][input.choice % 4]))
        return (
            { decoder.partialByteCount }, { decoder.takePartial() },
            { try decoder.decode($0, $1) }
        )
    }
    return 0
}
