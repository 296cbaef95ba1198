// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors
import Torsion

// expect: Deferred made at FiredTwice/FiredTwice.swift:8: succeed, fail: it has already fired

let reactor = try Reactor()
let answer = Deferred<Int>(on: reactor)
answer.succeed(1)
answer.succeed(2)
