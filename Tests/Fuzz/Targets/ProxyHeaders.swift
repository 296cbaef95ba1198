// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

import TorsionCore
import TorsionProtocols

@c(LLVMFuzzerTestOneInput)
func fuzz(_ start: UnsafePointer<UInt8>?, _ count: Int) -> CInt {
    guard let input = FuzzInput(UnsafeRawBufferPointer(start: start, count: count)) else {
        return 0
    }
    let limit = 16 + 4 * input.choice
    let whole = outcome(of: [input.stream[...]], limitBytes: limit)
    let cut = outcome(of: input.pieces, limitBytes: limit)
    expect(whole == cut, "\(whole) differs from \(cut)")
    if let header = whole.header { expectSameWhenSent(header) }
    return 0
}

private struct Outcome: Equatable {
    var header: ProxyHeader?
    var usedByteCount = 0
    var error: ProxyHeaderError?
}

private func outcome(of pieces: [ArraySlice<UInt8>], limitBytes: Int) -> Outcome {
    var decoder = ProxyHeaderDecoder(limitBytes: limitBytes)
    var outcome = Outcome()
    do throws(ProxyHeaderError) {
        for piece in pieces {
            if let found = try decoder.decode(Bytes(Array(piece)).span) {
                outcome.header = found.header
                outcome.usedByteCount += found.usedByteCount
                expect(outcome.usedByteCount <= max(limitBytes, 107), "a header over the limit")
                return outcome
            }
            outcome.usedByteCount += piece.count
            expect(decoder.partialByteCount <= max(limitBytes, 107), "more is held than allowed")
        }
    } catch {
        outcome.error = error
        outcome.usedByteCount = 0
    }
    return outcome
}

/// What was read can be sent on, and is then read as the same.
private func expectSameWhenSent(_ header: ProxyHeader) {
    guard let bytes = try? header.encoded() else { fatalError("\(header) cannot be sent") }
    var decoder = ProxyHeaderDecoder(limitBytes: 1 << 17)
    let found = try? decoder.decode(bytes.span)
    expect(found?.usedByteCount == bytes.count, "not all of \(bytes) is read")
    // A header of nobody's connection has no room for extensions.
    guard header.addresses != nil else { return }
    expect(found?.header == header, "\(header) is read as \(found as Any)")
}
