// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

internal import TorsionCore

/// The beginning of a frame whose end has not arrived.
///
/// A struct, but the decoder that stores it is a class, and no call below runs a callback: so a
/// callback may come back to the decoder while its frame is shown.
struct PartialFrame {
    /// What is held.
    private(set) var bytes: [UInt8] = []

    /// Longer storage is not kept for the next frame, so that a connection which is idle after one
    /// long frame is not charged for it.
    private static let keptCapacity = 4 * 1024

    /// Takes out what is held.
    mutating func take() -> [UInt8] {
        var taken: [UInt8] = []
        swap(&taken, &bytes)
        return taken
    }

    /// Holds a copy of more bytes.
    ///
    /// The storage doubles, so that the work is linear in the bytes, but not beyond `limitBytes`
    /// unless there are more to hold.
    mutating func append(_ more: RawSpan, limitBytes: Int) {
        let count = bytes.count + more.byteCount
        if count > bytes.capacity {
            bytes.reserveCapacity(max(count, min(2 * bytes.capacity, limitBytes)))
        }
        bytes += more
    }

    /// Holds again what was taken out and is not used up, without a copy.
    mutating func putBack(_ taken: inout [UInt8], droppingFirst count: Int) {
        if count > 0 { taken.removeFirst(count) }
        // A callback may have come back, and have held something meanwhile.
        taken += bytes
        bytes = []
        swap(&taken, &bytes)
    }

    /// Gives back the storage of a frame that was taken out and shown.
    mutating func recycle(_ shown: inout [UInt8]) {
        guard bytes.isEmpty, shown.capacity <= Self.keptCapacity else { return }
        shown.removeAll(keepingCapacity: true)
        swap(&shown, &bytes)
    }
}
