// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

import TorsionCore
import TorsionProtocols

@c(LLVMFuzzerTestOneInput)
func fuzz(_ start: UnsafePointer<UInt8>?, _ count: Int) -> CInt {
    guard let input = FuzzInput(UnsafeRawBufferPointer(start: start, count: count)) else {
        return 0
    }
    let limit = 1 + input.choice / 2
    expectSameFrames(input, mostHeld: limit + 1) {
        let decoder = LineDecoder(
            limitBytes: limit,
            terminator: input.choice % 2 == 0 ? .lineFeed : .carriageReturnLineFeed)
        return (
            { decoder.partialByteCount }, { decoder.takePartial() },
            { try decoder.decode($0, $1) }
        )
    }
    return 0
}
