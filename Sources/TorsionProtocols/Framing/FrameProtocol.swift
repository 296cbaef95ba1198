// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

public import TorsionCore

/// A protocol of frames: netstrings, or bytes behind their length.
///
///     final class Reverser: FrameProtocol {
///         let frames = FrameDecoder(.lengthPrefix(.uint16))
///         func frameReceived(_ frame: RawSpan, from transport: any StreamTransport) throws {
///             try transport.write(frame: Bytes([UInt8](frame).reversed()), as: frames.format)
///         }
///     }
///
/// Inside `frameReceived` a protocol may pause the transport, close it, or switch to another
/// protocol: the bytes behind the frame are kept, dropped or handed on, each once. Bytes that break
/// the format or its limit end the connection with a ``FrameError``.
///
/// - SeeAlso: Twisted `NetstringReceiver`, `Int16StringReceiver`.
public protocol FrameProtocol: PhasedProtocol {
    /// Cuts the frames; one for each connection.
    var frames: FrameDecoder { get }

    /// A frame arrived.
    ///
    /// - Parameters:
    ///   - frame: The payload, or header and payload if the format is one of a header; borrowed
    ///     until the call returns.
    ///   - transport: The connection that brought it.
    /// - Throws: An error that aborts the connection, and is reported.
    func frameReceived(_ frame: RawSpan, from transport: any StreamTransport) throws

    /// Raw bytes arrived: those that you expect, or any while `frames.isRaw`. By default they are
    /// dropped.
    ///
    /// If you know how many there are, call `frames.expect(rawBytes:)`, and frames begin again behind
    /// them. If you find their end only by looking at them, set `frames.isRaw` to false and hand what
    /// is behind the end to `dataReceived`: it is cut when this call has returned, so that the stack
    /// does not grow with what a peer sends.
    ///
    /// - Parameters:
    ///   - bytes: At least one, borrowed until the call returns.
    ///   - transport: The connection that brought them.
    /// - Throws: What is to end the connection, as the reason of its loss.
    func rawDataReceived(_ bytes: RawSpan, from transport: any StreamTransport) throws

    /// A frame is longer than allowed: what is written here is the last that the peer gets.
    ///
    /// When it returns, the connection is lost as by `loseConnection(because:)`: what is queued
    /// leaves, and the error is the reason of the loss. The default aborts the connection, with the
    /// error as the reason of its loss. It is called as soon as the length is known, before the frame
    /// has arrived. What a peer did wrong is told to `connectionLost` alone; what a callback throws
    /// goes to `Reactor.unhandledError` as well.
    ///
    /// - Parameters:
    ///   - error: ``FrameError/tooLong(byteCount:limitBytes:)``.
    ///   - transport: The connection that brought the frame.
    /// - Throws: What is to end the connection at once, as the reason of its loss.
    func frameTooLong(_ error: FrameError, from transport: any StreamTransport) throws
}

extension FrameProtocol {
    /// A request from the first byte of a frame until its end.
    public var phase: ConnectionPhase { frames.phase }

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
    public func frameTooLong(_ error: FrameError, from transport: any StreamTransport) throws {
        transport.abortConnection(because: error)
    }

    /// Cuts what arrived into frames: calls ``cutFrames(in:from:)``.
    ///
    /// - Parameters:
    ///   - bytes: Borrowed until the call returns.
    ///   - transport: The connection that brought them.
    /// - Throws: What ``cutFrames(in:from:)`` throws.
    public func dataReceived(_ bytes: RawSpan, from transport: any StreamTransport) throws {
        try cutFrames(in: bytes, from: transport)
    }

    /// Cuts bytes into frames, for a `dataReceived` of your own.
    ///
    /// Calls `frameReceived` and `rawDataReceived` until the bytes are used, or until one of them
    /// pauses, closes or switches: then the rest is given to `transport.unread`. If you call it
    /// inside one of them, the bytes are cut when that has returned, ahead of what else is there.
    ///
    /// - Parameters:
    ///   - bytes: Borrowed for the call.
    ///   - transport: The connection that brought them; asked whether it is still delivering.
    /// - Throws: What the callbacks throw, and what is wrong with a frame.
    public func cutFrames(in bytes: RawSpan, from transport: any StreamTransport) throws {
        do {
            try frames.cut(bytes, from: transport) { bytes in
                try frames.decode(bytes) { frame in
                    try frameReceived(frame, from: transport)
                    return frames.goesOn(transport)
                }
            } orRaw: { rest in
                try rawDataReceived(rest, from: transport)
            }
        } catch let error as FrameError where frames.hasRefused {
            guard case .tooLong = error else { return transport.abortConnection(because: error) }
            try frameTooLong(error, from: transport)
            transport.loseConnection(because: error)
        }
    }
}
