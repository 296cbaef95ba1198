// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

/// Names a pending timer; once that is over it names nothing, and never another timer.
struct TimerKey: Hashable {
    let slot: UInt32
    let identity: UInt64
}

/// A timer in the slab, or a free place there.
struct TimerNode<Payload> {
    var deadline = MonotonicInstant(nanoseconds: 0)

    // Orders equal deadlines; a rescheduled timer gets a new one.
    var sequence: UInt64 = 0

    // What the key must bear; 0 while the place is free. 64 bits never come round, so that a stale
    // key cannot meet a later timer.
    var identity: UInt64 = 0

    // The neighbours in the timer's list. In the heap of due timers `next` is the position; of a
    // free place it is the next free one of its chunk.
    var previous = noTimer
    var next = noTimer

    // The index of a list, or `TimerWheel.inHeap`.
    var place: UInt16 = 0

    var payload: Payload?
}

/// The slot that means none.
let noTimer = UInt32.max

/// Where timers live: an address that stays, found by a number.
///
/// Memory comes in chunks and goes in chunks: one is given back when all its timers are gone and
/// another empty one is at hand, which keeps a steady coming and going free of allocations. So a
/// million timers leave next to nothing behind, even if a few others go on.
struct TimerSlab<Payload>: ~Copyable {
    // 512 timers of 56 bytes: well below the size that malloc gets from the kernel each time.
    private static var chunkBits: UInt32 { 9 }
    private static var chunkSize: Int { 1 << Int(chunkBits) }

    @safe
    private struct Chunk {
        // Nil while the chunk's numbers are unused.
        var nodes: UnsafeMutablePointer<TimerNode<Payload>>?
        var usedCount = 0
        var firstFree = noTimer
        // Neighbours in the list of chunks with room; of an unused chunk, the next unused one.
        var previousOpen = -1
        var nextOpen = -1
    }

    private var chunks: [Chunk] = []
    private var firstOpen = -1
    private var firstUnused = -1
    private var emptyCount = 0

    deinit {
        for chunk in chunks {
            guard let nodes = unsafe chunk.nodes else { continue }
            // Every node of a chunk is initialised while the chunk has memory.
            unsafe nodes.deinitialize(count: Self.chunkSize)
            unsafe nodes.deallocate()
        }
    }

    /// How many timers there is memory for.
    var capacity: Int {
        chunks.reduce(0) { unsafe $1.nodes == nil ? $0 : $0 + Self.chunkSize }
    }

    /// Whether `key` names a timer that is there.
    @inline(__always)
    func contains(_ key: TimerKey) -> Bool {
        let chunk = Int(key.slot >> Self.chunkBits)
        guard chunk < chunks.count, let nodes = unsafe chunks[chunk].nodes else { return false }
        // The remainder is less than the chunk's size.
        return unsafe nodes[Int(key.slot) & (Self.chunkSize - 1)].identity == key.identity
    }

    /// The timer at a slot that ``allocate()`` gave.
    subscript(slot: UInt32) -> TimerNode<Payload> {
        @inline(__always)
        _read {
            // A slot in use has a chunk with memory, and the remainder is less than its size.
            yield unsafe chunks[Int(slot >> Self.chunkBits)]
                .nodes.unsafelyUnwrapped[Int(slot) & (Self.chunkSize - 1)]
        }
        @inline(__always)
        _modify {
            // As above.
            yield unsafe &chunks[Int(slot >> Self.chunkBits)]
                .nodes.unsafelyUnwrapped[Int(slot) & (Self.chunkSize - 1)]
        }
    }

    /// Gives a free slot; its payload is nil.
    mutating func allocate() -> UInt32 {
        if firstOpen < 0 { openChunk() }
        let chunk = firstOpen
        let slot = chunks[chunk].firstFree
        chunks[chunk].firstFree = self[slot].next
        if chunks[chunk].usedCount == 0 { emptyCount -= 1 }
        chunks[chunk].usedCount += 1
        if chunks[chunk].usedCount == Self.chunkSize { takeOffOpenList(chunk) }
        return slot
    }

    /// Takes a slot back; the caller has moved the payload out.
    mutating func free(_ slot: UInt32) {
        let chunk = Int(slot >> Self.chunkBits)
        self[slot].identity = 0
        self[slot].next = chunks[chunk].firstFree
        chunks[chunk].firstFree = slot
        chunks[chunk].usedCount -= 1
        if chunks[chunk].usedCount == Self.chunkSize - 1 { putOnOpenList(chunk) }
        guard chunks[chunk].usedCount == 0 else { return }
        emptyCount += 1
        if emptyCount > 1 { closeChunk(chunk) }
    }

    private mutating func openChunk() {
        let chunk = firstUnused < 0 ? chunks.count : firstUnused
        if chunk == chunks.count {
            precondition(chunk < 1 << (32 - Int(Self.chunkBits)), "TimerWheel: too many timers")
            chunks.append(Chunk())
        } else {
            firstUnused = chunks[chunk].nextOpen
        }
        let nodes = UnsafeMutablePointer<TimerNode<Payload>>.allocate(capacity: Self.chunkSize)
        unsafe nodes.initialize(repeating: TimerNode(), count: Self.chunkSize)
        let firstSlot = UInt32(chunk) << Self.chunkBits
        for index in 0..<Self.chunkSize - 1 {
            // Within the chunk just made.
            unsafe nodes[index].next = firstSlot + UInt32(index) + 1
        }
        unsafe chunks[chunk] = Chunk(nodes: nodes, firstFree: firstSlot)
        emptyCount += 1
        putOnOpenList(chunk)
    }

    private mutating func closeChunk(_ chunk: Int) {
        takeOffOpenList(chunk)
        emptyCount -= 1
        // A chunk in the list of open ones has memory, all of it initialised.
        let nodes = unsafe chunks[chunk].nodes.unsafelyUnwrapped
        unsafe nodes.deinitialize(count: Self.chunkSize)
        unsafe nodes.deallocate()
        unsafe chunks[chunk] = Chunk(nextOpen: firstUnused)
        firstUnused = chunk
    }

    private mutating func putOnOpenList(_ chunk: Int) {
        chunks[chunk].previousOpen = -1
        chunks[chunk].nextOpen = firstOpen
        if firstOpen >= 0 { chunks[firstOpen].previousOpen = chunk }
        firstOpen = chunk
    }

    private mutating func takeOffOpenList(_ chunk: Int) {
        let (previous, next) = (chunks[chunk].previousOpen, chunks[chunk].nextOpen)
        if previous < 0 { firstOpen = next } else { chunks[previous].nextOpen = next }
        if next >= 0 { chunks[next].previousOpen = previous }
    }
}
