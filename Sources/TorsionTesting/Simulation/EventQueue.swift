// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

/// What will happen on a simulated network, earliest first; what is due together, in the order in
/// which it was scheduled.
struct EventQueue {
    enum Event {
        /// The first segment under way from this socket arrives.
        case arrival(SimulatedSocket)
        /// This socket's peer has read, and has room again.
        case room(SimulatedSocket)
        /// A connect of this socket is refused.
        case refusal(SimulatedSocket)
        /// Something by hand or by script.
        case call(() -> Void)
    }

    private struct Entry {
        let time: UInt64
        let sequence: UInt64
        let event: Event

        func isBefore(_ other: Entry) -> Bool {
            time != other.time ? time < other.time : sequence < other.sequence
        }
    }

    /// A binary heap.
    private var entries: [Entry] = []
    private var sequence: UInt64 = 0

    /// When the next event is due, nil if there is none.
    var nextTime: UInt64? { entries.first?.time }

    mutating func schedule(_ event: Event, at time: UInt64) {
        sequence += 1
        entries.append(Entry(time: time, sequence: sequence, event: event))
        var child = entries.count - 1
        while child > 0, entries[child].isBefore(entries[(child - 1) / 2]) {
            entries.swapAt(child, (child - 1) / 2)
            child = (child - 1) / 2
        }
    }

    /// The next event if it is due.
    mutating func popDue(at time: UInt64) -> Event? {
        guard let first = entries.first, first.time <= time else { return nil }
        let last = entries.removeLast()
        if !entries.isEmpty {
            entries[0] = last
            sink()
        }
        return first.event
    }

    private mutating func sink() {
        var parent = 0
        while true {
            var least = parent
            for child in (2 * parent + 1)...(2 * parent + 2) where child < entries.count {
                if entries[child].isBefore(entries[least]) { least = child }
            }
            guard least != parent else { return }
            entries.swapAt(parent, least)
            parent = least
        }
    }
}
