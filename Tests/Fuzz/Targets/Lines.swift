// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

import TorsionCore
import TorsionProtocols

@c(LLVMFuzzerTestOneInput)
func fuzz(_ start: UnsafePointer<UInt8>?, _ count: Int) -> CInt {
    guard let input = FuzzInput(UnsafeRawBufferPointer(start: start, count: count)) else {
        return 0
    }
    let limit = 1 + input.choice / 4
    let terminators: [LineDecoder.Terminator] = [
        .lineFeed, .carriageReturnLineFeed, .bytes("aab"), .bytes([0]),
    ]
    expectSameFrames(input, mostHeld: limit + 2) {
        let decoder = LineDecoder(limitBytes: limit, terminator: terminators[input.choice % 4])
        return (
            { decoder.partialByteCount }, { decoder.takePartial() },
            { try decoder.decode($0, $1) }
        )
    }
    return 0
}
