// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

/// A line: first in, first out, and whoever stands in it can leave.
///
/// Who leaves does so by the number that was drawn when joining; what is between is found by
/// halving. The holes that are left are closed when they are more than the rest, so that the line
/// needs no more room than twice what stands in it, and every operation is O(log *n*) on average.
struct WaitingLine<Element> {
    private struct Place {
        let number: UInt64
        var element: Element?
    }

    private var places: [Place] = []
    /// The places before this one are empty.
    private var head = 0
    /// The number of the next to join.
    private(set) var nextNumber: UInt64 = 0
    private(set) var count = 0

    var isEmpty: Bool { count == 0 }

    /// How much room it takes.
    var placeCount: Int { places.count }

    mutating func append(_ element: Element) {
        places.append(Place(number: nextNumber, element: element))
        nextNumber += 1
        count += 1
    }

    /// Who stands first.
    ///
    /// O(*n*) in those who have left before.
    var first: Element? { places[head...].lazy.compactMap(\.element).first }

    mutating func popFirst() -> Element? { popFirst(before: .max) }

    /// Takes out the first, if its number is lower than this one.
    mutating func popFirst(before number: UInt64) -> Element? {
        while head < places.count, places[head].number < number {
            let element = places[head].element.take()
            head += 1
            guard let element else { continue }
            count -= 1
            closeHoles()
            return element
        }
        return nil
    }

    /// Takes out who has this number, if it is still in the line.
    mutating func remove(_ number: UInt64) -> Element? {
        var low = head
        var high = places.count
        while low < high {
            let middle = (low + high) / 2
            if places[middle].number < number { low = middle + 1 } else { high = middle }
        }
        guard low < places.count, places[low].number == number else { return nil }
        guard let element = places[low].element.take() else { return nil }
        count -= 1
        closeHoles()
        return element
    }

    /// Asserts what must hold between calls.
    ///
    /// O(*n*).
    func checkInvariants() {
        require(
            count == places.count { $0.element != nil },
            "WaitingLine: \(count) are counted, and others stand in it")
        require(
            head <= places.count && places[..<head].allSatisfy { $0.element == nil },
            "WaitingLine: somebody stands before its head")
        let numbers = places.map(\.number) + [nextNumber]
        require(
            zip(numbers, numbers.dropFirst()).allSatisfy { $0 < $1 },
            "WaitingLine: numbers are out of order")
    }

    /// Whoever stands in it, the first first.
    ///
    /// O(*n*).
    var elements: some Sequence<Element> { places.lazy.compactMap(\.element) }

    private mutating func closeHoles() {
        if count == 0 {
            // A long line must not leave its room behind for good.
            places.removeAll(keepingCapacity: places.count <= 64)
            head = 0
        } else if places.count > 16, places.count > 2 * count {
            places.removeAll { $0.element == nil }
            head = 0
        }
    }
}
