// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

public import TorsionCore

/// A protocol of messages that you cut yourself.
///
///     final class Sum: MessageProtocol {
///         let messages = MessageBuffer()
///         func messageReceived(
///             _ reader: inout ByteReader, from transport: any StreamTransport
///         ) throws {
///             let left = try reader.readInteger(UInt32.self)
///             let right = try reader.readInteger(UInt32.self)
///             transport.write("\(UInt64(left) + UInt64(right))\n")
///         }
///     }
///
/// Inside `messageReceived` a protocol may pause the transport, close it, or switch to another
/// protocol: the bytes behind the message are kept, dropped or handed on, each once.
///
/// - SeeAlso: ``MessageDecoder``, by which a message is read in async code, and here as well.
public protocol MessageProtocol: PhasedProtocol {
    /// Holds the beginning of a message; one for each connection.
    var messages: MessageBuffer { get }

    /// Bytes are there: read one message from their beginning, then act on it.
    ///
    /// Read all of it before you do anything: where it is not complete the reader throws
    /// `ByteReaderError.needsMore`; let that pass, and you are called again from the same byte when
    /// more has arrived. `readSpan` returns borrowed bytes, without an allocation.
    ///
    /// - Parameters:
    ///   - reader: Stands at the first unused byte; there is at least one.
    ///   - transport: The connection that brought them.
    /// - Throws: `ByteReaderError.needsMore` if the message is not complete; anything else ends the
    ///   connection, as the reason of its loss.
    func messageReceived(
        _ reader: inout ByteReader, from transport: any StreamTransport) throws

    /// Raw bytes arrived: those that you expect, or any while `messages.isRaw`. By default they are
    /// dropped.
    ///
    /// As `LineProtocol.rawDataReceived`.
    ///
    /// - Parameters:
    ///   - bytes: At least one, borrowed until the call returns.
    ///   - transport: The connection that brought them.
    /// - Throws: What is to end the connection, as the reason of its loss.
    func rawDataReceived(_ bytes: RawSpan, from transport: any StreamTransport) throws

    /// A message is longer than allowed: what is written here is the last that the peer gets.
    ///
    /// When it returns, the connection is lost as by `loseConnection(because:)`: what is queued
    /// leaves, and the error is the reason of the loss. The default aborts the connection, with the
    /// error as the reason of its loss. What a peer did wrong is told to `connectionLost` alone; what
    /// a callback throws goes to `Reactor.unhandledError` as well.
    ///
    /// - Parameters:
    ///   - error: The length as far as it is known, and the limit.
    ///   - transport: The connection that brought the message.
    /// - Throws: What is to end the connection at once, as the reason of its loss.
    func messageTooLong(_ error: MessageTooLong, from transport: any StreamTransport) throws
}

extension MessageProtocol {
    /// A request from the first byte of a message until its end.
    public var phase: ConnectionPhase { messages.phase }

    /// Drops the bytes.
    ///
    /// - Parameters:
    ///   - bytes: Ignored.
    ///   - transport: Ignored.
    /// - Throws: Does not throw.
    public func rawDataReceived(_ bytes: RawSpan, from transport: any StreamTransport) throws {}

    /// Aborts the connection because of the error.
    ///
    /// - Parameters:
    ///   - error: Becomes the reason of the loss.
    ///   - transport: Aborted.
    /// - Throws: Nothing; one of your own may.
    public func messageTooLong(
        _ error: MessageTooLong, from transport: any StreamTransport
    ) throws { transport.abortConnection(because: error) }

    /// Cuts what arrived into messages: calls ``cutMessages(in:from:)``.
    ///
    /// - Parameters:
    ///   - bytes: Borrowed until the call returns.
    ///   - transport: The connection that brought them.
    /// - Throws: What ``cutMessages(in:from:)`` throws.
    public func dataReceived(_ bytes: RawSpan, from transport: any StreamTransport) throws {
        try cutMessages(in: bytes, from: transport)
    }

    /// Cuts bytes into messages, for a `dataReceived` of your own.
    ///
    /// Calls `messageReceived` and `rawDataReceived` until the bytes are used, or until one of them
    /// pauses, closes or switches: then the rest is given to `transport.unread`. If you call it
    /// inside one of them, the bytes are cut when that has returned, ahead of what else is there.
    ///
    /// - Parameters:
    ///   - bytes: Borrowed for the call.
    ///   - transport: The connection that brought them; asked whether it is still delivering.
    /// - Throws: What the callbacks throw, and what is wrong with a message.
    public func cutMessages(in bytes: RawSpan, from transport: any StreamTransport) throws {
        do {
            try messages.cut(bytes, from: transport) { bytes in
                try messages.decode(bytes) { reader in
                    try messageReceived(&reader, from: transport)
                    return messages.goesOn(transport)
                }
            } orRaw: { rest in
                try rawDataReceived(rest, from: transport)
            }
        } catch let error as MessageTooLong where messages.hasRefused {
            try messageTooLong(error, from: transport)
            transport.loseConnection(because: error)
        }
    }
}
