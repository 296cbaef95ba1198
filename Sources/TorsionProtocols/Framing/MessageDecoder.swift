// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

public import TorsionCore

/// Framing of your own: takes one message from the beginning of a stream, or says that more is
/// needed.
///
///     struct PointDecoder: MessageDecoder {
///         func decode(_ reader: inout ByteReader) throws -> Point {
///             Point(x: try reader.readInteger(), y: try reader.readInteger())
///         }
///     }
///
/// Read as if everything were there. Where it is not, the reader throws
/// `ByteReaderError.needsMore(byteCount:)`; let that pass, and you are called again from the same
/// byte when so much more has arrived. For async code that is all:
///
///     for try await point in connection.messages(PointDecoder()) { print(point) }
///
/// For callbacks see ``MessageProtocol``. Pauses, closes, limits and switches of protocols are taken
/// care of in both; what a decoder throws ends the connection.
///
/// A message of many parts that is long, such as an array of a thousand texts, would be read from its
/// beginning for each of them. Keep the parts in a property, and call `ByteReader.commit()` behind
/// each: then the next call begins there, and the work is linear in the bytes.
///
/// Called on the reactor; it must not block. A call that succeeds must have read at least one byte.
public protocol MessageDecoder {
    /// The decoded message.
    associatedtype Message

    /// Takes one message.
    ///
    /// - Parameter reader: Stands at the first unused byte; there is at least one. Borrowed for the
    ///   call: `readBytes` keeps a piece of it.
    /// - Returns: The message. Unread bytes are left for the next message.
    /// - Throws: `ByteReaderError.needsMore(byteCount:)` if the message is not complete; anything
    ///   else ends the connection.
    mutating func decode(_ reader: inout ByteReader) throws -> Message
}
