// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors
import Torsion

// expect: Reactor: run was called inside a callback of the same reactor

try Reactor.run(signals: .ignore) { reactor in try reactor.run() }
