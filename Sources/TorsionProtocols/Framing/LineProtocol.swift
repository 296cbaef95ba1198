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
/// protocol: the bytes behind the line are kept, dropped or handed on, and none is doubled.
///
/// - SeeAlso: Twisted `LineReceiver`.
public protocol LineProtocol: PhasedProtocol {
    /// Cuts the lines; one for each connection.
    var lines: LineDecoder { get }

    /// A line arrived.
    ///
    /// `line`: Without its end, borrowed until the call returns.
    func lineReceived(_ line: RawSpan, from transport: any StreamTransport) throws

    /// Bytes arrived while `lines.isRaw`. By default they are dropped.
    ///
    /// Where lines begin again in the middle, set `lines.isRaw` to false and hand the rest to
    /// `dataReceived`.
    func rawDataReceived(_ bytes: RawSpan, from transport: any StreamTransport) throws
}

extension LineProtocol {
    /// A request from the first byte of a line until its end.
    public var phase: ConnectionPhase { lines.phase }

    /// Drops the bytes.
    public func rawDataReceived(_ bytes: RawSpan, from transport: any StreamTransport) throws {}

    /// Cuts what arrived into lines.
    public func dataReceived(_ bytes: RawSpan, from transport: any StreamTransport) throws {
        try lines.cut(bytes, from: transport) { line in
            try lineReceived(line, from: transport)
        } orRaw: { rest in
            try rawDataReceived(rest, from: transport)
        }
    }
}
