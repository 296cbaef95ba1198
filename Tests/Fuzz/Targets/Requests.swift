// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

import TorsionCore
import TorsionHTTP

@c(LLVMFuzzerTestOneInput)
func fuzz(_ start: UnsafePointer<UInt8>?, _ count: Int) -> CInt {
    guard let input = FuzzInput(UnsafeRawBufferPointer(start: start, count: count)) else {
        return 0
    }
    var limits = HeadLimits()
    limits.byteCount = [32 * 1024, 100, 512, 1_024][input.choice % 4]
    limits.requestLineByteCount = min(limits.byteCount, 64 + input.choice)
    limits.fieldCount = [100, 3, 8, 20][input.choice / 4 % 4]
    let whole = outcome(of: [input.stream[...]], limits)
    let cut = outcome(of: input.pieces, limits)
    expect(whole == cut, "\(whole) differs from \(cut)")
    return 0
}

private struct Outcome: Equatable {
    var head: CopiedRequestHead?
    var byteCount = 0
    var error: RequestError?
}

private func outcome(of pieces: [ArraySlice<UInt8>], _ limits: HeadLimits) -> Outcome {
    let held = HeldHead(limits: limits)
    for piece in pieces {
        switch held.add(Bytes(Array(piece)).span) {
        case .incomplete: continue
        case .failed(let error): return Outcome(error: error)
        case .complete:
            let head = held.withHead { $0.copied() }
            let facts = held.parser.facts
            expect(facts.byteCount <= limits.byteCount, "a head of \(facts.byteCount) bytes")
            expect(head.fields.count <= limits.fieldCount, "\(head.fields.count) fields")
            expectPlain(head)
            return Outcome(head: head, byteCount: facts.byteCount)
        }
    }
    return Outcome()
}

/// Nothing that ends a line is in any part.
private func expectPlain(_ head: CopiedRequestHead) {
    let parts =
        [head.method.bytes, head.target] + head.fields.flatMap { [$0.name.bytes, $0.value] }
    for part in parts {
        for byte: UInt8 in [0, 10, 13] {
            expect(part.firstIndex(of: byte) == nil, "a control character in \(part)")
        }
    }
    expect(!head.target.isEmpty && !head.method.bytes.isEmpty, "an empty part")
    _ = (head.path, head.query)
}
