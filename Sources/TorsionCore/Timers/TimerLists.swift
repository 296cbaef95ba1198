// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

/// A chain of timers through the slab.
struct TimerList {
    var first = noTimer
    var last = noTimer

    // No timer here is due before, unless the list is empty. Set anew by the first that comes: to
    // look for the next one when a timer is cancelled would cost a walk.
    var earliest = MonotonicInstant.distantFuture

    var isEmpty: Bool { first == noTimer }
}

/// A fixed number of lists, in memory of their own, for the reason that the slab has it.
///
/// `@safe`: an index is checked where it is made, from a level and six bits.
@safe
struct TimerLists: ~Copyable {
    private let lists: UnsafeMutablePointer<TimerList>

    init(count: Int) {
        unsafe lists = .allocate(capacity: count)
        unsafe lists.initialize(repeating: TimerList(), count: count)
    }

    deinit {
        // A list is trivial: there is nothing to deinitialise.
        unsafe lists.deallocate()
    }

    subscript(index: Int) -> TimerList {
        @inline(__always)
        _read { yield unsafe lists[index] }
        @inline(__always)
        nonmutating _modify { yield unsafe &lists[index] }
    }

    /// Where a list is: for who touches it more than once.
    @inline(__always)
    func list(_ index: Int) -> UnsafeMutablePointer<TimerList> { unsafe lists + index }
}
