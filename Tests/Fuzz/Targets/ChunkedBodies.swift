// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

import TorsionCore
import TorsionHTTP

@c(LLVMFuzzerTestOneInput)
func fuzz(_ start: UnsafePointer<UInt8>?, _ count: Int) -> CInt {
    guard let input = FuzzInput(UnsafeRawBufferPointer(start: start, count: count)) else {
        return 0
    }
    let whole = outcome(of: [input.stream[...]])
    let cut = outcome(of: input.pieces)
    expect(whole == cut, "\(whole) differs from \(cut)")
    expect(whole.body.count <= input.stream.count, "more was shown than came")
    return 0
}

private struct Outcome: Equatable {
    var body: [UInt8] = []
    var trailers = FieldList()
    var isOver = false
    var usedByteCount = 0
    var error: RequestError?
}

private func outcome(of pieces: [ArraySlice<UInt8>]) -> Outcome {
    var decoder = ChunkedDecoder()
    var outcome = Outcome()
    do throws(RequestError) {
        for piece in pieces where !outcome.isOver {
            let bytes = Bytes(Array(piece))
            var position = 0
            while let range = try decoder.next(bytes.span, &position) {
                expect(!range.isEmpty, "an empty run")
                outcome.body += bytes[range]
            }
            outcome.isOver = decoder.isOver
            outcome.usedByteCount += position
            expect(position == bytes.count || decoder.isOver, "bytes were left")
        }
        outcome.trailers = decoder.trailers
    } catch {
        outcome.error = error
        outcome.usedByteCount = 0
    }
    return outcome
}
