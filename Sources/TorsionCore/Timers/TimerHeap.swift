// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

/// The timers whose tick has come, first due on top: a binary heap that knows each timer's place.
struct TimerHeap {
    /// A timer's order beside its slot, so that comparing need not visit the slab.
    struct Entry {
        var deadline: MonotonicInstant
        var sequence: UInt64
        var slot: UInt32

        static func < (left: Entry, right: Entry) -> Bool {
            if left.deadline != right.deadline { return left.deadline < right.deadline }
            return left.sequence < right.sequence
        }
    }

    private(set) var entries: [Entry] = []

    /// The timer that is due first.
    var first: Entry? { entries.first }

    /// Adds a timer; its place in the heap is kept in its node.
    mutating func insert<Payload>(_ slot: UInt32, in slab: inout TimerSlab<Payload>) {
        slab[slot].place = TimerWheel<Payload>.inHeap
        let node = (slab[slot].deadline, slab[slot].sequence)
        entries.append(Entry(deadline: node.0, sequence: node.1, slot: slot))
        siftUp(entries.count - 1, in: &slab)
    }

    /// Removes the timer at a place that its node names.
    mutating func remove<Payload>(at position: Int, in slab: inout TimerSlab<Payload>) {
        let last = entries.removeLast()
        if position < entries.count {
            entries[position] = last
            // What comes from another branch may belong above as well as below.
            siftUp(position, in: &slab)
            siftDown(Int(slab[last.slot].next), in: &slab)
        }
        // A burst of due timers must not leave its memory behind.
        if entries.isEmpty, entries.capacity > 1024 { entries = [] }
    }

    private mutating func siftUp<Payload>(_ start: Int, in slab: inout TimerSlab<Payload>) {
        let entry = entries[start]
        var position = start
        while position > 0 {
            let parent = (position - 1) / 2
            guard entry < entries[parent] else { break }
            set(entries[parent], at: position, in: &slab)
            position = parent
        }
        set(entry, at: position, in: &slab)
    }

    private mutating func siftDown<Payload>(_ start: Int, in slab: inout TimerSlab<Payload>) {
        let entry = entries[start]
        var position = start
        while true {
            var child = 2 * position + 1
            guard child < entries.count else { break }
            if child + 1 < entries.count, entries[child + 1] < entries[child] { child += 1 }
            guard entries[child] < entry else { break }
            set(entries[child], at: position, in: &slab)
            position = child
        }
        set(entry, at: position, in: &slab)
    }

    private mutating func set<Payload>(
        _ entry: Entry, at position: Int, in slab: inout TimerSlab<Payload>
    ) {
        entries[position] = entry
        slab[entry.slot].next = UInt32(position)
    }
}
