// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

#if IOUring

internal import CTorsionURing
internal import Synchronization

/// The buffers that the kernel receives into, of all streams of a ring.
///
/// The kernel takes a buffer from the ring of those that are lent to it when bytes are there, not
/// before, so that a silent connection holds none. A buffer is borrowed to the protocol and lent
/// again when the call returns; what a paused stream has to keep is copied.
///
/// The kernel takes them in the order in which they were lent. With many of them a busy server would
/// touch cold memory for each message; so few are lent, and more only when many streams together
/// found none. One stream that has much to say finds none too, and is served in the next turn. When
/// most streams have gone, so have the buffers that were added for them: their pages at once, they
/// themselves as they come back from the kernel, which cannot be asked for them.
final class ReceiveBuffers {
    struct Configuration {
        /// Large enough that bulk input is few completions.
        var byteCount = 32 * 1_024
        var initialCount = 16
        /// A power of two.
        var limit = 512
        /// So many streams that find no buffer in one turn double their number.
        var shortageThreshold = 8
    }

    /// Buffers that were added together.
    private struct Block {
        let memory: UnsafeMutableRawPointer
        let numbers: Range<Int>
        /// Those that came back when they were no longer wanted.
        var returned: [Int] = []
    }

    /// Addresses of what is never released, so that a search for leaks finds it referenced.
    private static let leftToTheKernel = Mutex<[UInt]>([])

    private let configuration: Configuration
    private let queue: UnsafeMutablePointer<torsion_uring>
    private let addresses: UnsafeMutablePointer<UnsafeMutableRawPointer>
    /// Those with a smaller number are lent again when they come back; the end of a block.
    @exclusivity(unchecked) private(set) var count = 0
    @exclusivity(unchecked) private var blocks: [Block] = []
    /// As many as there may be: `limit`, or fewer where memory is short.
    private var limit: Int
    /// Streams that found none in this turn.
    @exclusivity(unchecked) private var shortages = 0
    /// The pages of those that are no longer wanted are to be given back.
    @exclusivity(unchecked) private var hasUnwanted = false

    init(_ configuration: Configuration, _ queue: UnsafeMutablePointer<torsion_uring>) {
        self.configuration = configuration
        self.queue = queue
        limit = configuration.limit
        addresses = .allocate(capacity: configuration.limit)
    }

    deinit { addresses.deallocate() }

    /// Makes the first.
    ///
    /// - Parameter mostBytes: More than so many bytes are not allocated for others.
    func start(mostBytes: Int) {
        add(configuration.initialCount)
        limit = min(configuration.limit, max(count, mostBytes / stride))
    }

    /// Releases them.
    ///
    /// - Parameter areLent: The ring was closed with operations under way. The kernel ends them in its
    ///   own time, so that the memory is left to it.
    func shutDown(areLent: Bool = false) {
        for block in blocks {
            if areLent {
                Self.leftToTheKernel.withLock { $0.append(UInt(bitPattern: block.memory)) }
            } else {
                block.memory.deallocate()
            }
        }
        blocks = []
        count = 0
        hasUnwanted = false
    }

    /// Bytes that are allocated.
    var allocatedByteCount: Int { (blocks.last?.numbers.upperBound ?? 0) * stride }

    @inline(__always)
    func address(_ number: Int) -> UnsafeMutableRawPointer { addresses[number] }

    /// Lends one to the kernel again, unless it is no longer wanted.
    @inline(__always)
    func give(_ number: Int) {
        guard number < count else { return release(number) }
        lend(number)
    }

    @inline(__always)
    private func lend(_ number: Int) {
        torsion_uring_give_buffer(
            queue, UInt16(truncatingIfNeeded: number), addresses[number],
            UInt32(truncatingIfNeeded: configuration.byteCount))
    }

    // MARK: More

    /// A stream found no buffer.
    func noteShortage() { shortages += 1 }

    /// Called at the end of a turn.
    ///
    /// - Parameter isQuiet: Whether no buffer holds anything that is still to be delivered.
    @inline(__always)
    func endTurn(isQuiet: @autoclosure () -> Bool) {
        if shortages > 0 { grow() }
        if hasUnwanted, isQuiet() { discardUnwanted() }
    }

    @inline(never)
    private func grow() {
        let isShort = shortages >= configuration.shortageThreshold
        shortages = 0
        guard isShort, count < limit else { return }
        guard let index = blocks.firstIndex(where: { $0.numbers.lowerBound == count }) else {
            return add(min(count, limit - count))
        }
        // Wanted again before all of them had come back.
        count = blocks[index].numbers.upperBound
        for number in blocks[index].returned { lend(number) }
        blocks[index].returned = []
    }

    // Not at the same place of a page each, where they would share the same few lines of the cache.
    private var stride: Int { configuration.byteCount + 320 }

    private func add(_ added: Int) {
        let memory = UnsafeMutableRawPointer.allocate(byteCount: stride * added, alignment: 64)
        let numbers = count..<count + added
        blocks.append(Block(memory: memory, numbers: numbers))
        count += added
        for number in numbers {
            let place = memory + (number - numbers.lowerBound) * stride
            (addresses + number).initialize(to: place)
            lend(number)
        }
    }

    // MARK: Fewer

    /// A stream has gone, and so many are left.
    @inline(__always)
    func streamHasGone(streamCount: Int) {
        if count > configuration.initialCount, 4 * streamCount < count { shrink(streamCount) }
    }

    @inline(never)
    private func shrink(_ streamCount: Int) {
        let wanted = max(configuration.initialCount, 2 * streamCount)
        guard let last = blocks.first(where: { $0.numbers.upperBound >= wanted }),
            last.numbers.upperBound < count
        else { return }
        count = last.numbers.upperBound
        hasUnwanted = true
    }

    @inline(never)
    private func discardUnwanted() {
        hasUnwanted = false
        for block in blocks where block.numbers.lowerBound >= count {
            torsion_uring_discard(block.memory, block.numbers.count * stride)
        }
    }

    /// One that is no longer wanted has come back.
    @inline(never)
    private func release(_ number: Int) {
        guard let index = blocks.firstIndex(where: { $0.numbers.contains(number) }) else { return }
        blocks[index].returned.append(number)
        // From the end, so that the numbers of those that are left have no gap.
        while let last = blocks.last, last.returned.count == last.numbers.count {
            last.memory.deallocate()
            blocks.removeLast()
        }
    }
}

#endif
