// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors
import Torsion

// A misspelt callback would never be called: so `dataReceived` has no default.
// expect: type 'Echo' does not conform to protocol 'StreamProtocol'
final class Echo: StreamProtocol {
    func dataRecieved(_ bytes: RawSpan, from transport: any StreamTransport) {
        transport.write(bytes)
    }
}
