// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors
import Torsion

// The bytes are lent for the call: the buffer behind them is used again for the next read.
final class History: StreamProtocol {
    // expect: accessor cannot return a ~Escapable result
    var last: RawSpan?

    func dataReceived(_ bytes: RawSpan, from transport: any StreamTransport) {
        last = bytes
    }
}
