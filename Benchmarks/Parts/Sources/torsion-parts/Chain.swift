// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

import Torsion

/// A Deferred, ten callbacks that add one, and a value.
func chain(on reactor: Reactor) {
    let source = Deferred<Int>(on: reactor)
    var sum = 0
    var end = source
    for _ in 0..<9 { end = end.addCallback { value in value &+ 1 } }
    end.addCallback { value in sum = value &+ 1 }
    source.succeed(1)
    precondition(sum == 11)
}

/// The same, each callback giving a Deferred that has succeeded.
func waitingChain(on reactor: Reactor) {
    let source = Deferred<Int>(on: reactor)
    var sum = 0
    var end = source
    for _ in 0..<9 {
        end = end.addCallback { value in Deferred.succeeded(value &+ 1, on: reactor) }
    }
    end.addCallback { value in
        sum = value &+ 1
        return Deferred.succeeded((), on: reactor)
    }
    source.succeed(1)
    precondition(sum == 11)
}
