// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

public import TorsionCore

/// A protocol of lines: chat, requests, commands.
///
///     final class Chat: LineProtocol {
///         let lines = LineDecoder()
///         func lineReceived(_ line: RawSpan, from transport: any StreamTransport) {
///             transport.write("you said \(String(decoding: line))\r\n")
///         }
///     }
///
/// Inside `lineReceived` a protocol may pause the transport, close it, or switch to another
/// protocol: the bytes behind the line are kept, dropped or handed on, each once.
///
/// - SeeAlso: Twisted `LineReceiver`.
public protocol LineProtocol: PhasedProtocol {
    /// Cuts the lines; one for each connection.
    var lines: LineDecoder { get }

    /// A line arrived.
    ///
    /// - Parameters:
    ///   - line: Without its end, borrowed until the call returns.
    ///   - transport: The connection that brought it.
    /// - Throws: An error that aborts the connection, and is reported.
    func lineReceived(_ line: RawSpan, from transport: any StreamTransport) throws

    /// Raw bytes arrived: those that you expect, or any while `lines.isRaw`. By default they are
    /// dropped.
    ///
    /// If you know how many there are, call `lines.expect(rawBytes:)`, and lines begin again behind
    /// them. If you find their end only by looking at them, set `lines.isRaw` to false and hand what
    /// is behind the end to `dataReceived`: it is cut when this call has returned, so that the stack
    /// does not grow with what a peer sends.
    ///
    /// - Parameters:
    ///   - bytes: At least one, borrowed until the call returns.
    ///   - transport: The connection that brought them.
    /// - Throws: What is to end the connection, as the reason of its loss.
    func rawDataReceived(_ bytes: RawSpan, from transport: any StreamTransport) throws

    /// A line is longer than allowed: what is written here is the last that the peer gets.
    ///
    ///     func lineTooLong(_ error: LineTooLong, from transport: any StreamTransport) {
    ///         transport.write("500 line too long\r\n")
    ///     }
    ///
    /// When it returns, the connection is lost as by `loseConnection(because:)`: what is queued
    /// leaves, and the error is the reason of the loss. The default aborts the connection, with the
    /// error as the reason of its loss. What a peer did wrong is told to `connectionLost` alone; what
    /// a callback throws goes to `Reactor.unhandledError` as well.
    ///
    /// - Parameters:
    ///   - error: How much had arrived, and what is allowed.
    ///   - transport: The connection that brought the line.
    /// - Throws: What is to end the connection at once, as the reason of its loss.
    func lineTooLong(_ error: LineTooLong, from transport: any StreamTransport) throws
}

extension LineProtocol {
    /// A request from the first byte of a line until its end.
    public var phase: ConnectionPhase { lines.phase }

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
    public func lineTooLong(_ error: LineTooLong, from transport: any StreamTransport) throws {
        transport.abortConnection(because: error)
    }

    /// Cuts what arrived into lines: calls ``cutLines(in:from:)``.
    ///
    /// - Parameters:
    ///   - bytes: Borrowed until the call returns.
    ///   - transport: The connection that brought them.
    /// - Throws: What ``cutLines(in:from:)`` throws.
    public func dataReceived(_ bytes: RawSpan, from transport: any StreamTransport) throws {
        try cutLines(in: bytes, from: transport)
    }

    /// Cuts bytes into lines, for a `dataReceived` of your own.
    ///
    /// Calls `lineReceived` and `rawDataReceived` until the bytes are used, or until one of them
    /// pauses, closes or switches: then the rest is given to `transport.unread`. If you call it
    /// inside one of them, the bytes are cut when that has returned, ahead of what else is there.
    ///
    /// - Parameters:
    ///   - bytes: Borrowed for the call.
    ///   - transport: The connection that brought them; asked whether it is still delivering.
    /// - Throws: What the callbacks throw, and what is wrong with a line.
    public func cutLines(in bytes: RawSpan, from transport: any StreamTransport) throws {
        do {
            try lines.cut(bytes, from: transport) { bytes in
                try lines.decode(bytes) { line in
                    try lineReceived(line, from: transport)
                    return lines.goesOn(transport)
                }
            } orRaw: { rest in
                try rawDataReceived(rest, from: transport)
            }
        } catch let error as LineTooLong where lines.hasRefused {
            try lineTooLong(error, from: transport)
            transport.loseConnection(because: error)
        }
    }
}
