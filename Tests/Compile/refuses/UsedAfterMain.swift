// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors
import Torsion

final class Total { var count = 0 }

func serve() {
    let total = Total()
    // expect: risks causing data races
    Reactor.main { reactor in
        reactor.callLater(.seconds(1)) {
            total.count += 1
            reactor.stop()
        }
    }
    // `main` was given the object for good, and yet it is used here.
    print(total.count)
}
