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
/// protocol: the bytes behind the frame are kept, dropped or handed on, and none is doubled. What
/// breaks the format or its limit ends the connection with a ``FrameError``.
///
/// - SeeAlso: Twisted `NetstringReceiver`, `Int16StringReceiver`.
public protocol FrameProtocol: PhasedProtocol {
    /// Cuts the frames; one for each connection.
    var frames: FrameDecoder { get }

    /// A frame arrived.
    ///
    /// `frame`: The payload, or header and payload if the format is one of a header; borrowed until
    /// the call returns.
    func frameReceived(_ frame: RawSpan, from transport: any StreamTransport) throws

    /// Bytes arrived while `frames.isRaw`. By default they are dropped.
    ///
    /// Where frames begin again in the middle, set `frames.isRaw` to false and hand the rest to
    /// `dataReceived`.
    func rawDataReceived(_ bytes: RawSpan, from transport: any StreamTransport) throws
}

extension FrameProtocol {
    /// A request from the first byte of a frame until its end.
    public var phase: ConnectionPhase { frames.phase }

    /// Drops the bytes.
    public func rawDataReceived(_ bytes: RawSpan, from transport: any StreamTransport) throws {}

    /// Cuts what arrived into frames.
    public func dataReceived(_ bytes: RawSpan, from transport: any StreamTransport) throws {
        try frames.cut(bytes, from: transport) { frame in
            try frameReceived(frame, from: transport)
        } orRaw: { rest in
            try rawDataReceived(rest, from: transport)
        }
    }
}
