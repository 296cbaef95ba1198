// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

/// Why a ``ByteReader`` could not read what was asked for.
///
/// The reader stands where it stood before the call. A plain value, usable on any thread.
@nonexhaustive
public enum ByteReaderError: Error, Hashable, Sendable {
    /// More bytes of the stream are needed: at least so many behind those that are here.
    ///
    /// Only a reader that was made with `moreMayFollow` throws it, as that of a decoder is. A
    /// decoder lets it pass, and is called again when they have arrived.
    case needsMore(byteCount: Int)

    /// The bytes end, and at least so many are missing: the message contradicts itself.
    case ended(missingByteCount: Int)

    /// The byte at a position is not what belongs there. The position counts from the reader's
    /// first byte.
    case invalid(Expectation, position: Int)

    /// The expected syntax, where a reader found something else.
    @nonexhaustive
    public enum Expectation: String, Hashable, Sendable {
        /// The digits 0 to 9, with a minus sign before them if the type has a sign.
        case decimal = "a decimal number"
        /// The digits 0 to 9, a to f and A to F.
        case hexadecimal = "a hexadecimal number"
        /// A number that its type can hold.
        case range = "a number within the range of its type"
        /// A varint of the shortest form.
        case varint = "a varint"
        /// A count of bytes, which is 0 or more.
        case byteCount = "a number of bytes"
        /// The bytes that ``ByteReader/expect(_:)-(String)`` was called with.
        case literal = "a given text"
        /// Text in UTF-8.
        case utf8 = "text in UTF-8"
        /// A position within the bytes.
        case position = "a position within the bytes"
        /// The end of the bytes.
        case end = "the end"
    }
}

extension ByteReaderError: CustomStringConvertible {
    /// A sentence.
    public var description: String {
        switch self {
        case .needsMore(let count): "at least \(count) more bytes are needed"
        case .ended(let missing): "the bytes end, and at least \(missing) are missing"
        case .invalid(let expectation, let position):
            "the byte at position \(position) is not the beginning of \(expectation.rawValue)"
        }
    }
}
