// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

/// The payload of a message that does not arrive in one frame and one read.
///
/// It doubles as bytes arrive. Memory follows what has come, not what a frame announces.
@safe
package final class PayloadBuffer {
    private var start: UnsafeMutableRawPointer
    private(set) var capacity: Int
    package private(set) var count = 0

    private static let firstCapacity = 4 * 1024

    /// - Parameter expected: How many bytes are announced; more than a read's are not believed.
    package init(expecting expected: Int) {
        capacity = max(Self.firstCapacity, min(expected, 64 * 1024))
        unsafe start = .allocate(byteCount: capacity, alignment: 8)
    }

    deinit { unsafe start.deallocate() }

    /// Room for more bytes, which are appended.
    ///
    /// - Parameter more: How many, 1 or more.
    /// - Returns: Where they are to be put; valid until the buffer changes.
    func append(count more: Int) -> UnsafeMutableRawPointer {
        if capacity - count < more {
            let larger = max(capacity * 2, count + more)
            let moved = UnsafeMutableRawPointer.allocate(byteCount: larger, alignment: 8)
            unsafe moved.copyMemory(from: start, byteCount: count)
            unsafe start.deallocate()
            unsafe start = moved
            capacity = larger
        }
        let place = unsafe start + count
        count += more
        return unsafe place
    }

    /// Room for bytes whose number is not known before.
    ///
    /// - Parameter most: How many may be wanted; 1 or more.
    /// - Returns: At least 64 bytes, behind those that are there; valid until the buffer changes.
    func room(atMost most: Int) -> UnsafeMutableRawBufferPointer {
        if capacity - count < 64 {
            _ = unsafe append(count: 64)
            count -= 64
        }
        return unsafe UnsafeMutableRawBufferPointer(
            start: start + count, count: max(64, min(most, capacity - count)))
    }

    /// So many bytes of ``room(atMost:)`` were filled.
    func fill(_ more: Int) { count += more }

    /// Takes the last bytes away, as many as there are at least.
    func dropLast(_ less: Int) { count -= less }

    /// Empties it for another message; what a long one took goes.
    func clear() {
        count = 0
        guard capacity > 64 * 1024 else { return }
        unsafe start.deallocate()
        capacity = Self.firstCapacity
        unsafe start = .allocate(byteCount: capacity, alignment: 8)
    }

    /// Its bytes; valid until the buffer changes.
    package var bytes: UnsafeRawBufferPointer {
        unsafe UnsafeRawBufferPointer(start: start, count: count)
    }
}
