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
    let method: HTTPMethod = [.get, .head, .connect, .post][input.choice / 16 % 4]
    let mayUpgrade = input.choice & 64 != 0
    let whole = Outcome(of: [input.stream[...]], limits, method, mayUpgrade)
    let cut = Outcome(of: input.pieces, limits, method, mayUpgrade)
    expect(whole == cut, "\(whole) differs from \(cut)")
    return 0
}

private struct Outcome: Equatable {
    var heads: [ResponseHead] = []
    var body: [UInt8] = []
    var rest: [UInt8] = []
    var isWhole = false
    var error: ResponseError?

    init(
        of pieces: [ArraySlice<UInt8>], _ limits: HeadLimits, _ method: HTTPMethod,
        _ mayUpgrade: Bool
    ) {
        var reader = AnswerReader(limits: limits)
        reader.begin(method, mayUpgrade: mayUpgrade)
        do throws(ResponseError) {
            for piece in pieces {
                let bytes = Bytes(Array(piece))
                var position = 0
                while let event = try reader.next(bytes.span, &position) {
                    note(event, bytes, limits)
                }
                expect(
                    position == bytes.count || isWhole || reader.isUpgraded, "bytes are left over")
                rest += bytes[position...]
            }
            if !isWhole { isWhole = try reader.inputEnded() }
        } catch {
            // How far it came in the piece that has the error is no matter.
            self.error = error
            body = []
            heads = []
        }
    }

    private mutating func note(_ event: AnswerReader.Event, _ bytes: Bytes, _ limits: HeadLimits) {
        switch event {
        case .head(let head):
            expect(head.fields.count <= limits.fieldCount, "\(head.fields.count) fields")
            for part in [head.reason] + head.fields.flatMap({ [$0.name.bytes, $0.value] }) {
                for byte: UInt8 in [0, 10, 13] {
                    expect(part.firstIndex(of: byte) == nil, "a control character in \(part)")
                }
            }
            heads.append(head)
            expect(heads.count <= 17, "\(heads.count) heads")
        case .body(let range):
            expect(!range.isEmpty && !isWhole, "a body's bytes that are none")
            body += bytes[range]
        case .end:
            expect(!isWhole, "an answer ends twice")
            isWhole = true
        }
    }
}
