// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

/// Names a pending timer; once that is over it names nothing, and never another timer.
@usableFromInline
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

    // Its own place in the slab, for good.
    let slot: UInt32

    // Nil while the place is free.
    var payload: Payload?
}

/// The slot that means none.
let noTimer = UInt32.max

/// Where timers live: an address that stays, found by a number.
///
/// Memory comes in chunks and goes in chunks: one is given back when all its timers are gone and
/// another empty one is at hand, which keeps a steady coming and going free of allocations. So a
/// million timers leave next to nothing behind, even if a few others go on.
///
/// `@safe`: a slot leads to a chunk below `chunkCount`, and the remainder is less than the chunk's
/// size. Pointers, not arrays, since an array's checks of bounds and of sole ownership are half of
/// what a timer would cost.
@safe
struct TimerSlab<Payload>: ~Copyable {
    typealias Node = UnsafeMutablePointer<TimerNode<Payload>>

    // 512 timers of 72 bytes: well below the size that malloc gets from the kernel each time.
    private static var chunkBits: UInt32 { 9 }
    private static var chunkSize: Int { 1 << Int(chunkBits) }

    @safe
    private struct Chunk {
        // Nil while the chunk's numbers are unused; if not, every node is initialised.
        var nodes: Node?
        var usedCount = 0
        var firstFree = noTimer
        // Neighbours in the list of chunks with room; of an unused chunk, the next unused one.
        var previousOpen = -1
        var nextOpen = -1
    }

    // Room for `chunkRoom`, of which the first `chunkCount` are initialised. They are trivial.
    private var chunks: UnsafeMutablePointer<Chunk>
    private var chunkRoom = 4
    private var chunkCount = 0

    private var firstOpen = -1
    private var firstUnused = -1
    private var emptyCount = 0

    // The place that was freed last; its chunk counts it as used. A timer that starts when another
    // was cancelled takes it, and neither touches the books of a chunk.
    private var spare: Node?

    init() {
        unsafe chunks = .allocate(capacity: chunkRoom)
    }

    deinit {
        for chunk in 0..<chunkCount {
            guard let nodes = unsafe chunks[chunk].nodes else { continue }
            unsafe nodes.deinitialize(count: Self.chunkSize)
            unsafe nodes.deallocate()
        }
        unsafe chunks.deallocate()
    }

    /// How many timers there is memory for.
    var capacity: Int {
        (0..<chunkCount).count { unsafe chunks[$0].nodes != nil } * Self.chunkSize
    }

    /// Where the timer is that `key`, made by this slab's owner, names; nil if it is gone.
    @inline(__always)
    func find(_ key: TimerKey) -> Node? {
        // There are never fewer chunks than there were.
        guard let nodes = unsafe chunks[Int(key.slot >> Self.chunkBits)].nodes else { return nil }
        let node = unsafe nodes + Int(key.slot) & (Self.chunkSize - 1)
        return unsafe node.pointee.identity == key.identity ? node : nil
    }

    /// The timer at a slot.
    subscript(slot: UInt32) -> TimerNode<Payload> {
        @inline(__always)
        _read { yield unsafe node(slot).pointee }
        @inline(__always)
        _modify { yield unsafe &node(slot).pointee }
    }

    /// Where the timer at a slot is, until that is freed.
    @inline(__always)
    func node(_ slot: UInt32) -> Node {
        unsafe chunks[Int(slot >> Self.chunkBits)].nodes.unsafelyUnwrapped
            + Int(slot) & (Self.chunkSize - 1)
    }

    /// Whether ``allocate()`` is a load and a store.
    @inline(__always)
    var hasSpare: Bool { unsafe spare != nil }

    /// Gives a free place; its payload is nil.
    @inline(__always)
    mutating func allocate() -> Node {
        unsafe spare.take() ?? takeFromChunk()
    }

    /// Takes a place back; the caller has moved the payload out and cleared the identity.
    @inline(__always)
    mutating func free(_ node: Node) {
        if let last = unsafe spare { giveToChunk(unsafe last.pointee.slot) }
        unsafe spare = node
    }

    /// Takes a place back while there is no spare one.
    @inline(__always)
    mutating func keepAsSpare(_ node: Node) { unsafe spare = node }

    @inline(never)
    private mutating func takeFromChunk() -> Node {
        if firstOpen < 0 { openChunk() }
        let chunk = unsafe chunks + firstOpen
        let slot = unsafe chunk.pointee.firstFree
        unsafe chunk.pointee.firstFree = self[slot].next
        if unsafe chunk.pointee.usedCount == 0 { emptyCount -= 1 }
        unsafe chunk.pointee.usedCount += 1
        if unsafe chunk.pointee.usedCount == Self.chunkSize { takeOffOpenList(firstOpen) }
        return unsafe node(slot)
    }

    @inline(never)
    private mutating func giveToChunk(_ slot: UInt32) {
        let number = Int(slot >> Self.chunkBits)
        let chunk = unsafe chunks + number
        unsafe self[slot].next = chunk.pointee.firstFree
        unsafe chunk.pointee.firstFree = slot
        unsafe chunk.pointee.usedCount -= 1
        if unsafe chunk.pointee.usedCount == Self.chunkSize - 1 { putOnOpenList(number) }
        guard unsafe chunk.pointee.usedCount == 0 else { return }
        emptyCount += 1
        if emptyCount > 1 { closeChunk(number) }
    }

    @inline(never)
    private mutating func openChunk() {
        let chunk = takeUnusedNumber()
        let nodes = Node.allocate(capacity: Self.chunkSize)
        let firstSlot = UInt32(chunk) << Self.chunkBits
        for index in 0..<Self.chunkSize {
            let isLast = index == Self.chunkSize - 1
            let slot = firstSlot + UInt32(index)
            unsafe (nodes + index).initialize(
                to: TimerNode(next: isLast ? noTimer : slot + 1, slot: slot))
        }
        unsafe chunks[chunk] = Chunk(nodes: nodes, firstFree: firstSlot)
        emptyCount += 1
        putOnOpenList(chunk)
    }

    private mutating func takeUnusedNumber() -> Int {
        guard firstUnused < 0 else {
            defer { unsafe firstUnused = chunks[firstUnused].nextOpen }
            return firstUnused
        }
        precondition(chunkCount < 1 << (32 - Int(Self.chunkBits)), "TimerWheel: too many timers")
        if chunkCount == chunkRoom {
            let larger = UnsafeMutablePointer<Chunk>.allocate(capacity: 2 * chunkRoom)
            unsafe larger.moveInitialize(from: chunks, count: chunkCount)
            unsafe chunks.deallocate()
            unsafe chunks = larger
            chunkRoom *= 2
        }
        unsafe (chunks + chunkCount).initialize(to: Chunk())
        chunkCount += 1
        return chunkCount - 1
    }

    @inline(never)
    private mutating func closeChunk(_ chunk: Int) {
        takeOffOpenList(chunk)
        emptyCount -= 1
        // A chunk in the list of open ones has memory. Its nodes are all free, and a node without a
        // payload has nothing to deinitialise.
        unsafe chunks[chunk].nodes.unsafelyUnwrapped.deallocate()
        unsafe chunks[chunk] = Chunk(nextOpen: firstUnused)
        firstUnused = chunk
    }

    @inline(never)
    private mutating func putOnOpenList(_ chunk: Int) {
        unsafe chunks[chunk].previousOpen = -1
        unsafe chunks[chunk].nextOpen = firstOpen
        if firstOpen >= 0 { unsafe chunks[firstOpen].previousOpen = chunk }
        firstOpen = chunk
    }

    @inline(never)
    private mutating func takeOffOpenList(_ chunk: Int) {
        let (previous, next) = unsafe (chunks[chunk].previousOpen, chunks[chunk].nextOpen)
        if previous < 0 { firstOpen = next } else { unsafe chunks[previous].nextOpen = next }
        if next >= 0 { unsafe chunks[next].previousOpen = previous }
    }
}
