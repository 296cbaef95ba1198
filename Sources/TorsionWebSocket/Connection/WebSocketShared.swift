// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

internal import TorsionCore

/// What all WebSockets of one reactor share, so that a message costs none of them any memory.
@safe
final class WebSocketShared: ReactorCompanion {
    /// A read has no more.
    static let scratchByteCount = 64 * 1024
    private static let randomByteCount = 4 * 1024

    let block: UnsafeMutablePointer<Block>
    /// Of all connections whose messages refer to no earlier ones.
    let compression = SharedCompression()
    private unowned let reactor: Reactor

    /// What each message needs, without references: reading a stored one would retain it.
    struct Block {
        /// Takes a client's message without its mask, while that is delivered.
        let scratch: UnsafeMutableRawBufferPointer
        /// A message that is delivered inside of another one's delivery has a scratch of its own.
        var isScratchLent = false
        /// Unpredictable bytes for masks.
        let random: UnsafeMutableRawPointer
        var usedRandomByteCount = WebSocketShared.randomByteCount
        /// Outlives this, which is its companion.
        let reactor: Unmanaged<Reactor>
    }

    init(on reactor: Reactor) {
        self.reactor = reactor
        unsafe block = .allocate(capacity: 1)
        unsafe block.initialize(
            to: Block(
                scratch: .allocate(byteCount: Self.scratchByteCount, alignment: 8),
                random: .allocate(byteCount: Self.randomByteCount, alignment: 8),
                reactor: .passUnretained(reactor)))
    }

    deinit {
        unsafe block.pointee.scratch.deallocate()
        unsafe block.pointee.random.deallocate()
        unsafe block.deallocate()
    }

    /// A new mask, which nobody can predict: RFC 6455 §10.3.
    @inline(__always)
    func makeMask() throws(IOError) -> FrameMask {
        if unsafe block.pointee.usedRandomByteCount == Self.randomByteCount { try refill() }
        let used = unsafe block.pointee.usedRandomByteCount
        unsafe block.pointee.usedRandomByteCount = used &+ 4
        return FrameMask(
            key: unsafe block.pointee.random.load(fromByteOffset: used, as: UInt32.self))
    }

    @inline(never)
    private func refill() throws(IOError) {
        let bytes = try reactor.randomBytes(count: Self.randomByteCount)
        bytes.withUnsafeBytes { bytes in
            // There are some, hence an address.
            unsafe block.pointee.random.copyMemory(
                from: bytes.baseAddress!, byteCount: bytes.count)
        }
        unsafe block.pointee.usedRandomByteCount = 0
    }
}
