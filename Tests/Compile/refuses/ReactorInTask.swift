// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors
import Torsion

// A reactor that is used here cannot be used there as well.
func countDown(on reactor: Reactor) {
    // expect: passing closure as a 'sending' parameter risks causing data races
    Task.detached {
        let number = reactor.number
        reactor.callLater(.seconds(1)) { print("later, on \(number)") }
        return
    }
}
