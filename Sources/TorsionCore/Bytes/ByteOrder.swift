// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

/// In which order the bytes of an integer stand.
///
///     let port = try reader.readInteger(UInt16.self)                      // network order
///     let length = try reader.readInteger(UInt32.self, .littleEndian)
public enum ByteOrder: Hashable, Sendable {
    /// The highest byte first, as in network order: what most Internet protocols use.
    case bigEndian
    /// The lowest byte first.
    case littleEndian
}
