// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

#if IOUring

/// Where the bytes of a turn's batched sends lie until they are handed over.
///
/// A send that does not wait is over when `io_uring_enter(2)` returns: the kernel has copied what it
/// took, and looks at none of it again. So places are given out one behind the other and all taken
/// back together, and there is nothing to free.
final class SendArena {
    private let base: UnsafeMutableRawPointer
    private let byteCount: Int
    @exclusivity(unchecked) private var used = 0

    init(byteCount: Int) {
        base = .allocate(byteCount: byteCount, alignment: 64)
        self.byteCount = byteCount
    }

    deinit { base.deallocate() }

    /// A place for so many bytes, at a line of the cache of its own; nil when there is none left.
    @inline(__always)
    func take(_ count: Int) -> UnsafeMutableRawPointer? {
        let rounded = (count &+ 63) & ~63
        guard rounded <= byteCount &- used else { return nil }
        defer { used &+= rounded }
        return base + used
    }

    /// Whether there is a place for so many bytes.
    func hasRoom(for count: Int) -> Bool { (count &+ 63) & ~63 <= byteCount &- used }

    /// Takes all places back.
    @inline(__always)
    func reset() { used = 0 }
}

#endif
