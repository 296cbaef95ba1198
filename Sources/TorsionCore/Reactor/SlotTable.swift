// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

/// Objects that are kept alive while they are open, each in a numbered slot.
///
/// O(1) both ways, and no allocation in the steady state.
struct SlotTable<Element: AnyObject> {
    private var slots: [Element?] = []
    private var free: [Int32] = []

    var count: Int { slots.count - free.count }

    /// Keeps an object alive until ``remove(_:)``.
    mutating func insert(_ element: Element) -> Int32 {
        if let slot = free.popLast() {
            slots[Int(slot)] = element
            return slot
        }
        slots.append(element)
        return Int32(slots.count - 1)
    }

    mutating func remove(_ slot: Int32) {
        precondition(slots[Int(slot)] != nil, "SlotTable: the slot is empty")
        slots[Int(slot)] = nil
        free.append(slot)
        // A burst must not leave its tables behind for good.
        if free.count == slots.count, slots.count > 4096 {
            slots = []
            free = []
        }
    }

    /// A copy, so that the table may change while its elements are visited.
    var elements: [Element] { slots.compactMap { $0 } }
}
