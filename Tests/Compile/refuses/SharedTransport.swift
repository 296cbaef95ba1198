// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors
import Torsion

// A transport belongs to one thread, so it cannot go to a task that runs on another.
final class Slow: StreamProtocol {
    func dataReceived(_ bytes: RawSpan, from transport: any StreamTransport) {
        // expect: passing closure as a 'sending' parameter risks causing data races
        Task.detached {
            transport.write("computed elsewhere")
        }
    }
}
