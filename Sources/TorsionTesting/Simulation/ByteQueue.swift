// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

@_spi(Backend) internal import TorsionCore

/// Bytes in a buffer of a simulated kernel, in order.
struct ByteQueue {
    private var pieces: [Bytes] = []
    /// Pieces before this one were taken.
    ///
    /// Removed in bulk, so that each costs O(1).
    private var head = 0
    private(set) var byteCount = 0

    var isEmpty: Bool { byteCount == 0 }

    mutating func append(_ bytes: Bytes) {
        guard !bytes.isEmpty else { return }
        pieces.append(bytes)
        byteCount += bytes.count
    }

    /// The first bytes, at most `limit`, joined if they came in several pieces.
    mutating func take(_ limit: Int) -> Bytes {
        let count = min(limit, byteCount)
        guard count > 0 else { return Bytes() }
        if count <= pieces[head].count { return takeFromFirst(count) }
        var joined: [UInt8] = []
        joined.reserveCapacity(count)
        while joined.count < count { joined += takeFromFirst(count - joined.count).span }
        return Bytes(joined)
    }

    private mutating func takeFromFirst(_ limit: Int) -> Bytes {
        let first = pieces[head]
        let count = min(limit, first.count)
        byteCount -= count
        if count < first.count {
            pieces[head] = first[count...]
            return first[..<count]
        }
        // Released now, as a kernel frees what was taken.
        pieces[head] = Bytes()
        head += 1
        if head == pieces.count || head >= 32 && 2 * head >= pieces.count {
            pieces.removeFirst(head)
            head = 0
        }
        return first
    }

    mutating func removeAll() { self = ByteQueue() }
}
