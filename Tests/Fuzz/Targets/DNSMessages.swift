// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

import TorsionCore
import TorsionDNS

@c(LLVMFuzzerTestOneInput)
func fuzz(_ start: UnsafePointer<UInt8>?, _ count: Int) -> CInt {
    let bytes = Bytes(Array(UnsafeRawBufferPointer(start: start, count: count)))
    guard let message = try? DNSMessage(decoding: bytes) else { return 0 }
    _ = message.answers.map(\.description)
    // What was read can be sent, unless it says nothing that a message can say, or compression that
    // we do not use made it short; and is then read as the same.
    guard let sent = try? message.encoded() else { return 0 }
    do {
        let read = try DNSMessage(decoding: sent)
        expect(read == message, "\(message) is read as \(read)")
    } catch {
        fatalError("\(message) cannot be read again: \(error)")
    }
    return 0
}
