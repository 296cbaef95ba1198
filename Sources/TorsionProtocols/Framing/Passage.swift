// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

internal import TorsionCore

/// One way of a read through a decoder: what is cut now, and what comes after it.
///
/// A callback may hand bytes back, for example what is behind the end of a body that it found in
/// raw bytes, by calling `dataReceived` again. That call only notes them here, and the loop that
/// called the callback goes on with them: so the stack stays flat, however many bodies a peer sends
/// in one read, and a pause or a close is seen before anything more is shown.
///
/// `@safe`: the memory is borrowed by the outermost call, which opens and closes the passage.
@safe
struct Passage {
    /// A run of bytes, and what keeps it alive unless the outermost call does.
    @safe
    struct Piece {
        private var bytes: UnsafeRawBufferPointer
        private let owner: Bytes?

        /// Bytes that outlive the passage.
        init(_ bytes: RawSpan) {
            unsafe self.bytes = bytes.withUnsafeBytes { unsafe $0 }
            owner = nil
        }

        /// Bytes that it keeps alive itself.
        init(_ bytes: Bytes) {
            unsafe self.bytes = bytes.unsafeBytes
            owner = bytes
        }

        private init(_ bytes: UnsafeRawBufferPointer, of piece: Piece) {
            unsafe self.bytes = bytes
            owner = piece.owner
        }

        var isEmpty: Bool { unsafe bytes.isEmpty }

        /// The bytes, lent as long as the piece lives.
        var span: RawSpan {
            @_lifetime(borrow self)
            get { unsafe _overrideLifetime(bytes.bytes, borrowing: self) }
        }

        mutating func removeFirst(_ count: Int) {
            unsafe bytes = UnsafeRawBufferPointer(rebasing: bytes[count...])
        }

        /// The part of it that a span shows, without a copy; nil if the span is of other memory.
        func part(shownBy part: RawSpan) -> Piece? {
            unsafe part.withUnsafeBytes { part in
                guard let base = unsafe bytes.baseAddress, let first = part.baseAddress
                else { return nil }
                let offset = unsafe first - base
                guard offset >= 0, unsafe offset + part.count <= bytes.count else { return nil }
                return unsafe Piece(part, of: self)
            }
        }
    }

    private(set) var isOpen = false
    private var current = Piece(Bytes())
    /// What the callback that runs has handed back, in order.
    private var handed: [Piece] = []
    /// What comes after the current piece, the next one last.
    private var later: [Piece] = []

    var hasHandedBack: Bool { !handed.isEmpty }

    mutating func open() { isOpen = true }

    mutating func close() { self = Passage() }

    /// The piece that is shown from now on.
    mutating func begin(_ piece: Piece) { current = piece }

    /// Notes what a callback hands back: copied, unless it is part of what is being shown.
    mutating func handBack(_ bytes: RawSpan) {
        handed.append(current.part(shownBy: bytes) ?? Piece(Bytes(bytes)))
    }

    /// Puts a piece behind the current one.
    mutating func postpone(_ piece: Piece) {
        if !piece.isEmpty { later.append(piece) }
    }

    /// What is to be shown next: what was handed back, the rest of the current piece, what is later.
    mutating func next(afterUsing usedByteCount: Int, of piece: Piece) -> Piece {
        var rest = piece
        rest.removeFirst(usedByteCount)
        if handed.isEmpty, !rest.isEmpty || later.isEmpty { return rest }
        postpone(rest)
        later.append(contentsOf: handed.reversed())
        handed.removeAll(keepingCapacity: true)
        return later.removeLast()
    }

    /// Takes out what comes after the current piece, in order.
    mutating func takeLater() -> [Piece] {
        var taken: [Piece] = []
        swap(&taken, &later)
        return taken.reversed()
    }
}
