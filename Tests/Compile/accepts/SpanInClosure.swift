// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors
import Torsion

// The closure takes a copy; `Bytes` is queued without another.
final class Later: StreamProtocol {
    func dataReceived(_ bytes: RawSpan, from transport: any StreamTransport) {
        let kept = Bytes(bytes)
        transport.reactor.callLater(.seconds(1)) {
            transport.write(kept)
        }
    }
}
