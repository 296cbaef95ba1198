// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

/// Calls in the order in which they were added, in a chain of blocks.
///
/// A flood of calls is a matter of their moving: an array that grows moves each of them about
/// twice, into pages that the kernel must first clear, and what walks along it retains each. Here a
/// call is written once and moved out once. The last block stays when the chain is empty, so that a
/// steady coming and going allocates nothing.
///
/// `@unchecked Sendable`: the blocks belong to the chain alone, and the calls in them are Sendable.
@safe
struct CallChain: ~Copyable, @unchecked Sendable {
    typealias Call = Inbox.Call

    private struct Block {
        var next: UnsafeMutablePointer<Block>?
        let calls: UnsafeMutablePointer<Call>
        // Those from `head` up to `tail` are initialised.
        var head = 0
        var tail = 0
    }

    // 256 calls of 24 bytes.
    private static var capacity: Int { 256 }

    private var first: UnsafeMutablePointer<Block>?
    private var last: UnsafeMutablePointer<Block>?

    init() {}

    deinit {
        var block = unsafe first
        while let present = unsafe block {
            let calls = unsafe present.pointee.calls + present.pointee.head
            unsafe calls.deinitialize(count: present.pointee.tail - present.pointee.head)
            unsafe block = present.pointee.next
            unsafe Self.free(present)
        }
    }

    /// Adds a call behind the others.
    @inline(__always)
    mutating func append(_ call: __owned Call) {
        if let last = unsafe last, unsafe last.pointee.tail < Self.capacity {
            unsafe Self.write(call, into: last)
        } else {
            addBlock()
            // There is one now.
            unsafe Self.write(call, into: last.unsafelyUnwrapped)
        }
    }

    /// Takes the oldest call out; nil when there is none.
    @inline(__always)
    mutating func popFirst() -> Call? {
        guard let block = unsafe first, unsafe block.pointee.head < block.pointee.tail else {
            return nil
        }
        let call = unsafe (block.pointee.calls + block.pointee.head).move()
        unsafe block.pointee.head &+= 1
        if unsafe block.pointee.head == block.pointee.tail { unsafe leave(block) }
        return call
    }

    @inline(__always)
    private static func write(_ call: __owned Call, into block: UnsafeMutablePointer<Block>) {
        unsafe (block.pointee.calls + block.pointee.tail).initialize(to: call)
        unsafe block.pointee.tail &+= 1
    }

    /// A block has been emptied: goes to the next, or keeps the only one for what comes.
    private mutating func leave(_ block: UnsafeMutablePointer<Block>) {
        guard let next = unsafe block.pointee.next else {
            unsafe block.pointee.head = 0
            unsafe block.pointee.tail = 0
            return
        }
        unsafe first = next
        unsafe Self.free(block)
    }

    @inline(never)
    private mutating func addBlock() {
        let block = UnsafeMutablePointer<Block>.allocate(capacity: 1)
        unsafe block.initialize(to: Block(calls: .allocate(capacity: Self.capacity)))
        if let last = unsafe last {
            unsafe last.pointee.next = block
        } else {
            unsafe first = block
        }
        unsafe last = block
    }

    private static func free(_ block: UnsafeMutablePointer<Block>) {
        unsafe block.pointee.calls.deallocate()
        unsafe block.deallocate()
    }
}
