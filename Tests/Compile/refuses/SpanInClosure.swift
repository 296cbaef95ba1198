// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors
import Torsion

// The delayed call runs when the bytes have long been given back.
final class Later: StreamProtocol {
    // expect: lifetime-dependent variable 'bytes' escapes its scope
    func dataReceived(_ bytes: RawSpan, from transport: any StreamTransport) {
        transport.reactor.callLater(.seconds(1)) {
            transport.write(bytes)
        }
    }
}
