// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

// How timers are kept.
//
// A reactor has a timer for nearly everything that it waits for, and cancels nearly all of them:
// the peer does answer. So starting and cancelling must cost the same few steps however many are
// pending, and only those that do come due may cost more.
//
// Time is cut into ticks of 2^20 nanoseconds, about a millisecond. A timer of a later tick than
// the current one lies in a list, chosen by the highest of the eight digits, of six bits each, in
// which its tick differs from the current one: the level is that digit's place, the list within
// the level its value. All timers of a level are due before those of the next, and those of a
// lower list before those of a higher, so that the first list is found from two bit masks. When
// time reaches the first tick of a list, its timers are spread over the levels below; so each
// timer moves at most seven times, and most are cancelled before they move at all. (Varghese and
// Lauck, "Hashed and Hierarchical Timing Wheels", 1987.)
//
// A list is in no order. What is left of exactness is made good when a tick has come: its timers
// go into a heap ordered by deadline, to the nanosecond, then by sequence. The heap is small,
// since it holds a millisecond's timers, and those that were late.
//
// A timer that is started for the current tick or an earlier one may be due at once, but belongs
// to a later turn than the one that started it. It waits in a list of its own, in the order of
// sequences, and enters the heap when a turn allows its sequence. This way what one turn may not
// see never stands before what it must.

/// The pending timers of a reactor, each with a payload that is handed out when it is due.
///
/// Pure: it reads no clock and calls nobody. Payloads leave by `popDue` and `cancel` and are let go
/// by the caller, so that a payload's own end may safely come back here.
///
/// - Complexity: O(1) to schedule and cancel, except O(log *n*) to cancel among *n* timers of a
///   tick that has come.
struct TimerWheel<Payload>: ~Copyable {
    /// How many timers are pending.
    private(set) var count = 0

    // The current tick: timers up to it are in the heap or in the list `early`. It stands between
    // the two counters since the compiler would load neighbours as one: that waits for the store of
    // the one that a cancel has just written.
    private var tick: UInt64 = 0

    /// The sequence of the timer scheduled or rescheduled last.
    private(set) var newestSequence: UInt64 = 0

    // The highest sequence that a turn has allowed: none in the heap is above.
    private var allowedSequence: UInt64 = 0

    var slab = TimerSlab<Payload>()
    var heap = TimerHeap()

    // The lists, of 64 for each of eight levels, and `early`.
    private var lists = TimerLists(count: early + 1)

    // Which lists of each level may have timers, and which levels. A bit is cleared by who looks for
    // the first list and finds it empty: to cancel the only timer of a list needs not touch them.
    private var occupiedLists = [8 of UInt64](repeating: 0)
    private var occupiedLevels: UInt8 = 0

    /// The list of timers that wait for a turn which may see them.
    private static var early: Int { 512 }

    /// In place of a list's index: the timer is in the heap.
    static var inHeap: UInt16 { 513 }

    /// Adds a timer.
    @inline(__always)
    mutating func schedule(
        _ payload: __owned Payload, at deadline: MonotonicInstant
    ) -> TimerKey {
        let node = unsafe slab.allocate()
        // Neither comes round: one has 64 bits, the other is what there is memory for.
        newestSequence &+= 1
        count &+= 1
        unsafe node.pointee.identity = newestSequence
        // Initialised, not assigned: there is no earlier payload to let go of.
        unsafe withUnsafeMutablePointer(to: &node.pointee.payload) {
            unsafe $0.initialize(to: payload)
        }
        unsafe setDeadline(of: node, to: deadline)
        return TimerKey(slot: unsafe node.pointee.slot, identity: newestSequence)
    }

    /// Removes a timer and gives its payload; nil if it is not pending.
    @inline(__always)
    mutating func cancel(_ key: TimerKey) -> Payload? {
        guard let node = unsafe slab.find(key) else { return nil }
        unsafe takeOut(node)
        return unsafe release(node)
    }

    /// Whether to schedule a timer touches nothing but its place and its list.
    @inline(__always)
    var schedulesAtOnce: Bool { slab.hasSpare }

    /// Cancels a timer, if that touches nothing but its place and its list; else nil.
    @inline(__always)
    mutating func cancelAtOnce(_ key: TimerKey) -> Payload? {
        guard !slab.hasSpare, let node = unsafe slab.find(key),
            unsafe node.pointee.place != Self.inHeap
        else { return nil }
        unsafe takeOffList(node)
        let payload = unsafe takePayload(node)
        unsafe slab.keepAsSpare(node)
        return payload
    }

    /// Gives a pending timer another deadline, behind those that have it already.
    ///
    /// - Returns: Whether the timer is pending; if not, nothing happens.
    mutating func reschedule(_ key: TimerKey, to deadline: MonotonicInstant) -> Bool {
        guard let node = unsafe slab.find(key) else { return false }
        unsafe takeOut(node)
        newestSequence += 1
        unsafe setDeadline(of: node, to: deadline)
        return true
    }

    /// Whether the timer is pending.
    func isActive(_ key: TimerKey) -> Bool { unsafe slab.find(key) != nil }

    /// When a timer is due; nil if it is not pending.
    func deadline(of key: TimerKey) -> MonotonicInstant? {
        unsafe slab.find(key)?.pointee.deadline
    }

    /// What a timer holds; nil if it is not pending.
    func payload(of key: TimerKey) -> Payload? { unsafe slab.find(key)?.pointee.payload }

    /// Removes the timer that is due first and gives its payload; nil if none is due.
    ///
    /// Payloads come in the order of deadlines, equal ones in that of sequences. A turn takes
    /// ``newestSequence`` when it begins and passes it with each call, so that timers which it
    /// starts itself wait for the next turn, whatever their deadline.
    ///
    /// - Parameters:
    ///   - now: The present. An earlier one than before is taken as it is.
    ///   - sequence: The highest sequence to give out; never less than in an earlier call.
    /// - Returns: The payload, or nil.
    mutating func popDue(
        at now: MonotonicInstant, scheduledUpTo sequence: UInt64
    ) -> Payload? {
        precondition(sequence >= allowedSequence, "TimerWheel: a turn allows what the last one did")
        allowedSequence = sequence
        advance(to: now.timerTick)
        admitEarly()
        guard let first = heap.first, first.deadline <= now else { return nil }
        let node = unsafe slab.node(first.slot)
        unsafe takeOut(node)
        return unsafe release(node)
    }

    /// Removes all timers and gives their payloads, in no order.
    ///
    /// Not the same as a new wheel, where the keys of this one could name new timers.
    mutating func removeAll() -> [Payload] {
        activeKeys.compactMap { cancel($0) }
    }

    /// A time before which no timer is due, nil without timers: what to wait for.
    ///
    /// It is the next deadline, unless the timer that had it was cancelled. Then it may be too
    /// early, once for each level that the next timer still has to move through.
    ///
    /// Mutating, since it clears bits; and so that it is read where the wheel lies: a getter that only
    /// reads is handed a copy of the whole wheel, at each wait.
    var nextWakeup: MonotonicInstant? {
        mutating get {
            guard count > 0 else { return nil }
            var earliest = lists[Self.early].isEmpty ? .distantFuture : lists[Self.early].earliest
            if let first = heap.first {
                earliest = min(earliest, first.deadline)
            } else if let index = firstOccupiedList() {
                earliest = min(earliest, lists[index].earliest)
            }
            return earliest
        }
    }

    /// The next deadline, nil without timers.
    ///
    /// - Complexity: O(*n*) in the number of timers in the first list.
    var nextDeadline: MonotonicInstant? {
        mutating get {
            guard count > 0 else { return nil }
            var earliest = heap.first?.deadline ?? .distantFuture
            forEach(in: Self.early) { earliest = min(earliest, slab[$0].deadline) }
            // What is in the heap is of an earlier tick than any timer in a list of the wheel.
            if heap.first == nil, let index = firstOccupiedList() {
                forEach(in: index) { earliest = min(earliest, slab[$0].deadline) }
            }
            return earliest
        }
    }

    /// The names of all pending timers, in no order.
    ///
    /// - Complexity: O(*n*).
    var activeKeys: [TimerKey] {
        var keys: [TimerKey] = []
        keys.reserveCapacity(count)
        for entry in heap.entries {
            keys.append(TimerKey(slot: entry.slot, identity: slab[entry.slot].identity))
        }
        for index in 0...Self.early {
            forEach(in: index) { keys.append(TimerKey(slot: $0, identity: slab[$0].identity)) }
        }
        return keys
    }

    /// Asserts what must hold at any time.
    ///
    /// - Complexity: O(*n*).
    mutating func checkInvariants() {
        let active = activeKeys
        require(
            active.count == count && active.allSatisfy { unsafe slab.find($0) != nil },
            "TimerWheel: \(count) timers are pending of \(active.count)")
        guard let deadline = nextDeadline else { return }
        require(nextWakeup ?? .distantFuture <= deadline, "TimerWheel: wakes up too late")
    }
}

extension MonotonicInstant {
    /// The millisecond, nearly, that the instant is in.
    fileprivate var timerTick: UInt64 { nanoseconds >> 20 }
}

extension TimerWheel {
    private typealias Node = TimerSlab<Payload>.Node

    @inline(__always)
    private mutating func setDeadline(of node: Node, to deadline: MonotonicInstant) {
        unsafe node.pointee.deadline = deadline
        unsafe node.pointee.sequence = newestSequence
        let tick = deadline.timerTick
        if tick > self.tick {
            unsafe putInWheel(node, tick: tick)
        } else {
            unsafe append(node, to: Self.early)
        }
    }

    @inline(__always)
    private mutating func putInWheel(_ node: Node, tick: UInt64) {
        let highestBit = 63 ^ (tick ^ self.tick).leadingZeroBitCount
        // A sixth: below 64 this is exact.
        let level = (highestBit &* 43) &>> 8
        let digit = (tick &>> UInt64(truncatingIfNeeded: level &* 6)) & 63
        unsafe append(node, to: level &* 64 &+ Int(truncatingIfNeeded: digit))
        if (occupiedLists[level] &>> digit) & 1 == 0 { mark(level, digit) }
    }

    private mutating func mark(_ level: Int, _ digit: UInt64) {
        occupiedLists[level] |= 1 << digit
        occupiedLevels |= 1 << UInt8(level)
    }

    @inline(__always)
    private mutating func append(_ node: Node, to index: Int) {
        let list = unsafe lists.list(index)
        let slot = unsafe node.pointee.slot
        let last = unsafe list.pointee.last
        let deadline = unsafe node.pointee.deadline
        unsafe node.pointee.place = UInt16(truncatingIfNeeded: index)
        unsafe node.pointee.previous = last
        unsafe node.pointee.next = noTimer
        unsafe list.pointee.last = slot
        if last == noTimer {
            unsafe list.pointee.first = slot
            unsafe list.pointee.earliest = deadline
        } else {
            slab[last].next = slot
            unsafe list.pointee.earliest = min(list.pointee.earliest, deadline)
        }
    }

    /// Takes a timer from where it is; it keeps its slot.
    @inline(__always)
    private mutating func takeOut(_ node: Node) {
        guard unsafe node.pointee.place != Self.inHeap else {
            return unsafe heap.remove(at: Int(node.pointee.next), in: &slab)
        }
        unsafe takeOffList(node)
    }

    @inline(__always)
    private mutating func takeOffList(_ node: Node) {
        let (previous, next) = unsafe (node.pointee.previous, node.pointee.next)
        let list = unsafe lists.list(Int(node.pointee.place))
        if previous == noTimer {
            unsafe list.pointee.first = next
        } else {
            slab[previous].next = next
        }
        if next == noTimer {
            unsafe list.pointee.last = previous
        } else {
            slab[next].previous = previous
        }
    }

    /// Clears the bits of a list that is empty.
    private mutating func unmark(_ index: Int) {
        let level = index / 64
        occupiedLists[level] &= ~(1 << UInt64(index % 64))
        if occupiedLists[level] == 0 { occupiedLevels &= ~(1 << UInt8(level)) }
    }

    @inline(__always)
    private mutating func release(_ node: Node) -> Payload {
        let payload = unsafe takePayload(node)
        unsafe slab.free(node)
        return payload
    }

    @inline(__always)
    private mutating func takePayload(_ node: Node) -> Payload {
        count &-= 1
        unsafe node.pointee.identity = 0
        // What is pending has one.
        return unsafe node.pointee.payload.take().unsafelyUnwrapped
    }

    /// The list whose timers are the first to be due, after the heap and `early`.
    private mutating func firstOccupiedList() -> Int? {
        while occupiedLevels != 0 {
            let level = occupiedLevels.trailingZeroBitCount
            let index = level * 64 + occupiedLists[level].trailingZeroBitCount
            if !lists[index].isEmpty { return index }
            unmark(index)
        }
        return nil
    }

    /// Makes `target` the current tick, unless it is past, and moves what that reaches.
    private mutating func advance(to target: UInt64) {
        guard target > tick else { return }
        while let index = firstOccupiedList() {
            let shift = UInt64(index / 64 * 6)
            // The digits above are the current tick's, those below zero.
            let start = ((tick >> (shift + 6)) << 6 | UInt64(index % 64)) << shift
            guard start <= target else { break }
            tick = start
            spread(index)
        }
        tick = target
    }

    /// Moves the timers of a list whose first tick has come to the levels below, or to the heap.
    private mutating func spread(_ index: Int) {
        var slot = lists[index].first
        lists[index] = TimerList()
        unmark(index)
        while slot != noTimer {
            let node = unsafe slab.node(slot)
            let next = unsafe node.pointee.next
            let tick = unsafe node.pointee.deadline.timerTick
            if tick > self.tick {
                unsafe putInWheel(node, tick: tick)
            } else if unsafe node.pointee.sequence <= allowedSequence {
                heap.insert(slot, in: &slab)
            } else {
                insertEarly(slot)
            }
            slot = next
        }
    }

    /// Puts a timer into `early` by its sequence, where it need not be the highest.
    private mutating func insertEarly(_ slot: UInt32) {
        var moved: [UInt32] = []
        let sequence = slab[slot].sequence
        while lists[Self.early].last != noTimer, slab[lists[Self.early].last].sequence > sequence {
            moved.append(lists[Self.early].last)
            unsafe takeOut(slab.node(lists[Self.early].last))
        }
        unsafe append(slab.node(slot), to: Self.early)
        while let slot = moved.popLast() {
            unsafe append(slab.node(slot), to: Self.early)
        }
    }

    /// Moves the timers that this turn may see from `early` to the heap.
    private mutating func admitEarly() {
        while true {
            let slot = lists[Self.early].first
            guard slot != noTimer, slab[slot].sequence <= allowedSequence else { return }
            unsafe takeOut(slab.node(slot))
            heap.insert(slot, in: &slab)
        }
    }

    private func forEach(in index: Int, _ body: (UInt32) -> Void) {
        var slot = lists[index].first
        while slot != noTimer {
            body(slot)
            slot = slab[slot].next
        }
    }
}
