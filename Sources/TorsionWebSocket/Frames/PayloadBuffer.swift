// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

/// The payload of a message that does not arrive in one frame and one read.
///
/// It doubles as bytes arrive. Memory follows what has come, not what a frame announces.
@safe
package final class PayloadBuffer {
    private var start: UnsafeMutableRawPointer
    private var capacity: Int
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

    /// Its bytes; valid until the buffer changes.
    package var bytes: UnsafeRawBufferPointer {
        unsafe UnsafeRawBufferPointer(start: start, count: count)
    }
}
