// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

import Testing

@testable import TorsionCore

/// What must hold of the waits between turns.
@Suite struct WaitTableTests {
    @Test func `a key whose wait is over matches nothing`() {
        var table = WaitTable()
        let first = table.reserve(awaiting: nil)
        #expect(table.isWaiting(first) && table.count == 1)
        _ = table.end(first)
        let second = table.reserve(awaiting: nil)
        #expect(!table.isWaiting(first) && table.isWaiting(second))
        #expect(table.end(first) == nil && table.keys == [second])
        _ = table.end(second)
        table.checkInvariants()
        #expect(table.count == 0)
    }

    @Test func `a wait that no task began is found`() async {
        await #expect(processExitsWith: .failure) {
            var table = WaitTable()
            _ = table.reserve(awaiting: nil)
            table.checkInvariants()
        }
    }
}
