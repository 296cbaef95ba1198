// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

internal import CTorsionURing

/// The buffers that the kernel receives into, of all streams of a ring.
///
/// The kernel takes a buffer from the ring of those that are lent to it when bytes are there, not
/// before, so that a silent connection holds none. A buffer is borrowed to the protocol and lent
/// again when the call returns; what a paused stream has to keep is copied.
///
/// The kernel takes them in the order in which they were lent. With many of them a busy server would
/// touch cold memory for each message; so few are lent, and more only when many streams together
/// found none. One stream that has much to say finds none too, and is served in the next turn.
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

    private let configuration: Configuration
    private let queue: UnsafeMutablePointer<torsion_uring>
    private let addresses: UnsafeMutablePointer<UnsafeMutableRawPointer>
    @exclusivity(unchecked) private(set) var count = 0
    @exclusivity(unchecked) private var blocks: [UnsafeMutableRawPointer] = []
    /// Streams that found none in this turn.
    @exclusivity(unchecked) private var shortages = 0

    init(_ configuration: Configuration, _ queue: UnsafeMutablePointer<torsion_uring>) {
        self.configuration = configuration
        self.queue = queue
        addresses = .allocate(capacity: configuration.limit)
    }

    deinit { addresses.deallocate() }

    func start() { add(configuration.initialCount) }

    /// The kernel no longer knows of them.
    func shutDown() {
        for block in blocks { block.deallocate() }
        blocks = []
        count = 0
    }

    @inline(__always)
    func address(_ number: Int) -> UnsafeMutableRawPointer { addresses[number] }

    /// Lends one to the kernel again.
    @inline(__always)
    func give(_ number: Int) {
        torsion_uring_give_buffer(
            queue, UInt16(truncatingIfNeeded: number), addresses[number],
            UInt32(truncatingIfNeeded: configuration.byteCount))
    }

    /// A stream found no buffer.
    func noteShortage() { shortages += 1 }

    /// Called at the end of a turn.
    @inline(__always)
    func growIfShort() {
        if shortages > 0 { grow() }
    }

    @inline(never)
    private func grow() {
        let isShort = shortages >= configuration.shortageThreshold
        shortages = 0
        if isShort, count < configuration.limit { add(min(count, configuration.limit - count)) }
    }

    private func add(_ added: Int) {
        // Not at the same place of a page each, where they would share the same few lines of the
        // cache.
        let stride = configuration.byteCount + 320
        let block = UnsafeMutableRawPointer.allocate(byteCount: stride * added, alignment: 64)
        blocks.append(block)
        for index in 0..<added {
            (addresses + count).initialize(to: block + index * stride)
            count += 1
            give(count - 1)
        }
    }
}
