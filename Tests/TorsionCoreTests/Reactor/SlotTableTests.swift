// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

import Testing

@testable import TorsionCore

@Suite struct SlotTableTests {
    @Test func `what is in the table lives, and is released when it is removed`() {
        let census = Census()
        var table = SlotTable<Resident>()
        let slots = (0..<3).map { _ in table.insert(Resident(census)) }
        #expect(table.count == 3 && census.living == 3)
        table.remove(slots[1])
        #expect(table.count == 2 && census.living == 2)
        #expect(table.elements.count == 2)
    }

    @Test func `a free slot is taken before a new one is made`() {
        var table = SlotTable<Resident>()
        let census = Census()
        let slots = (0..<3).map { _ in table.insert(Resident(census)) }
        table.remove(slots[1])
        #expect(table.insert(Resident(census)) == slots[1])
        #expect(Set(slots).count == 3)
    }

    @Test func `a table that was emptied after a burst works as before`() {
        var table = SlotTable<Resident>()
        let census = Census()
        for _ in 0..<2 {
            let slots = (0..<5_000).map { _ in table.insert(Resident(census)) }
            slots.forEach { table.remove($0) }
            #expect(table.count == 0 && census.living == 0)
        }
        _ = table.insert(Resident(census))
        #expect(table.elements.count == 1)
    }

    @Test func `removing from an empty slot traps`() async {
        await #expect(processExitsWith: .failure) {
            var table = SlotTable<Resident>()
            let slot = table.insert(Resident(Census()))
            table.remove(slot)
            table.remove(slot)
        }
    }
}
