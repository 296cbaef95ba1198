// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors
import Torsion

final class Total { var count = 0 }

// `run` borrows its closure: in a function, a method or a test it may capture anything, `self` and
// parameters too.
func serve(counting total: Total) throws {
    try Reactor.run { reactor in
        reactor.callLater(.seconds(1)) {
            total.count += 1
            reactor.stop()
        }
    }
    print(total.count)
}

final class Server {
    private var total = Total()

    func serve() throws {
        try Reactor.run { reactor in reactor.callLater(.seconds(1)) { self.total.count += 1 } }
    }
}
