// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

/// Pieces in order, first in, first out, each O(1) on average; what was taken is released at once.
package struct PieceQueue<Piece> {
    private var pieces: [Piece?] = []
    /// The pieces before this one were taken.
    private var head = 0

    package init() {}

    package var isEmpty: Bool { head == pieces.count }

    package mutating func append(_ piece: Piece) { pieces.append(piece) }

    package mutating func popFirst() -> Piece? {
        guard head < pieces.count else { return nil }
        let first = pieces[head].take()
        head += 1
        if head == pieces.count {
            // A long queue must not leave its room behind for good.
            pieces.removeAll(keepingCapacity: head <= 64)
            head = 0
        } else if head >= 32, 2 * head >= pieces.count {
            pieces.removeFirst(head)
            head = 0
        }
        return first
    }
}
