// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors
import Torsion

// What is kept is a copy, and one sees it.
final class History: StreamProtocol {
    var last = Bytes()

    func dataReceived(_ bytes: RawSpan, from transport: any StreamTransport) {
        last = Bytes(bytes)
    }
}
