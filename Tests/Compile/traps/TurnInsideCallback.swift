// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors
import Torsion

// expect: Reactor: turn was called inside a callback

try Reactor.run(signals: .ignore) { reactor in reactor.turn() }
