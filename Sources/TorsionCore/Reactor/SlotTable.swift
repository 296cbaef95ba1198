// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

/// Objects that are kept alive while they are open, each in a numbered slot.
///
/// O(1) both ways, and no allocation in the steady state.
struct SlotTable<Element: AnyObject> {
    private var slots: [Slot] = []
    /// The slot freed last, -1 if there is none.
    private var firstFree: Int32 = -1
    private(set) var count = 0

    /// The free ones are a list through themselves, the one freed last first.
    private enum Slot {
        case taken(Element)
        case free(next: Int32)
    }

    /// Keeps an object alive until ``remove(_:)``.
    mutating func insert(_ element: Element) -> Int32 {
        count += 1
        guard firstFree >= 0, case .free(let next) = slots[Int(firstFree)] else {
            slots.append(.taken(element))
            return Int32(slots.count - 1)
        }
        let slot = firstFree
        firstFree = next
        slots[Int(slot)] = .taken(element)
        return slot
    }

    /// - Returns: What was in the slot, which may live on by this alone.
    @discardableResult
    mutating func remove(_ slot: Int32) -> Element {
        var content = Slot.free(next: firstFree)
        swap(&content, &slots[Int(slot)])
        guard case .taken(let element) = content else {
            preconditionFailure("SlotTable: the slot is empty")
        }
        firstFree = slot
        count -= 1
        // A burst must not leave its table behind for good.
        if count == 0, slots.count > 4096 {
            slots = []
            firstFree = -1
        }
        return element
    }

    /// A copy, so that the table may change while its elements are visited.
    var elements: [Element] {
        slots.compactMap { if case .taken(let element) = $0 { element } else { nil } }
    }
}
