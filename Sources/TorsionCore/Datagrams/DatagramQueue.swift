// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

/// Datagrams that wait to be sent, first in, first out, in one buffer of fixed size.
///
/// The buffer is a ring of lines of 64 bytes, and each datagram lies in one piece: so that what was
/// queued need not move, and also the number of empty ones has a bound. It is allocated at the
/// first write. The kernel backs what is touched only, and a queue that empties, as it does at the
/// end of nearly every event, begins again at the start.
@safe
struct DatagramQueue: ~Copyable {
    private static let lineByteCount = 64

    private let capacity: Int
    private var base: UnsafeMutableRawPointer?
    /// Where the next datagram goes, unless the rest of the ring is too short for it.
    private var tail = 0
    private var datagrams: [BorrowedDatagram] = []
    private var headIndex = 0

    init(capacity: Int) {
        require(capacity > 0, "DatagramOptions: queueLimitBytes \(capacity); need at least 1")
        self.capacity =
            (capacity + Self.lineByteCount - 1) / Self.lineByteCount * Self.lineByteCount
    }

    deinit { base?.deallocate() }

    var count: Int { datagrams.count - headIndex }

    var isEmpty: Bool { count == 0 }

    /// Appends a copy.
    ///
    /// - Returns: False, and nothing is queued, if there is no room.
    mutating func append(_ bytes: UnsafeRawBufferPointer, to address: SocketAddress) -> Bool {
        let lines = max(1, (bytes.count + Self.lineByteCount - 1) / Self.lineByteCount)
        guard let place = place(byteCount: lines * Self.lineByteCount) else { return false }
        tail = place + lines * Self.lineByteCount
        let start = allocatedBase() + place
        if let source = bytes.baseAddress {
            start.copyMemory(from: source, byteCount: bytes.count)
        }
        datagrams.append(
            BorrowedDatagram(
                bytes: UnsafeRawBufferPointer(start: start, count: bytes.count), address: address))
        return true
    }

    /// Where so many bytes fit behind all others, the end of the ring being followed by its start.
    private func place(byteCount: Int) -> Int? {
        guard !isEmpty else { return byteCount <= capacity ? 0 : nil }
        let head = offset(of: headIndex)
        guard tail > head else { return tail + byteCount <= head ? tail : nil }
        if tail + byteCount <= capacity { return tail }
        return byteCount <= head ? 0 : nil
    }

    private func offset(of index: Int) -> Int {
        // What is queued has an address, since the buffer has one.
        UnsafeRawPointer(base!).distance(to: datagrams[index].bytes.baseAddress!)
    }

    private mutating func allocatedBase() -> UnsafeMutableRawPointer {
        if let base { return base }
        let made = UnsafeMutableRawPointer.allocate(
            byteCount: capacity, alignment: Self.lineByteCount)
        base = made
        return made
    }

    /// Shows all that is queued, oldest first; the pointers are valid until they are removed.
    func withAll<Result>(
        _ body: (UnsafeBufferPointer<BorrowedDatagram>) -> Result
    ) -> Result {
        datagrams.withUnsafeBufferPointer { body(UnsafeBufferPointer(rebasing: $0[headIndex...])) }
    }

    /// Removes the oldest.
    mutating func removeFirst(_ removed: Int = 1) {
        precondition(removed <= count, "DatagramQueue: more removed than queued")
        headIndex += removed
        if headIndex == datagrams.count {
            datagrams.removeAll(keepingCapacity: true)
            headIndex = 0
        } else if headIndex >= 256 {
            datagrams.removeFirst(headIndex)
            headIndex = 0
        }
    }
}
