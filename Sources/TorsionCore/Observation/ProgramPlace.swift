// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

/// A line of the program, in 16 bytes: a `StaticString` alone takes 17.
///
/// `@unchecked Sendable` and `@safe`: the bytes are those of a literal, which nothing changes or frees.
@usableFromInline @safe
struct ProgramPlace: @unchecked Sendable {
    @usableFromInline let start: UnsafePointer<UInt8>
    /// The number of bytes in the upper half, the line in the lower one.
    @usableFromInline let numbers: UInt64

    @inlinable @inline(__always)
    init(file: StaticString, line: UInt) {
        // A literal of a single scalar has no bytes that one could point to.
        let file = file.hasPointerRepresentation ? file : "?"
        unsafe start = file.utf8Start
        numbers =
            UInt64(truncatingIfNeeded: file.utf8CodeUnitCount) &<< 32
            | UInt64(UInt32(truncatingIfNeeded: line))
    }
}

extension ProgramPlace: CustomStringConvertible {
    /// As in "Chat/Room.swift:41".
    @usableFromInline var description: String {
        let bytes = unsafe UnsafeBufferPointer(start: start, count: Int(numbers >> 32))
        return "\(String(decoding: bytes, as: UTF8.self)):\(UInt32(truncatingIfNeeded: numbers))"
    }
}

extension ProgramPlace: Hashable {
    // By content: modules have their literals each for themselves.
    @usableFromInline static func == (one: ProgramPlace, other: ProgramPlace) -> Bool {
        one.numbers == other.numbers && one.description == other.description
    }

    @usableFromInline func hash(into hasher: inout Hasher) { hasher.combine(description) }
}
