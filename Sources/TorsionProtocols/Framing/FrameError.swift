// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

/// An error in a frame that a peer sent, or that was to be sent.
///
/// Thrown by ``FrameDecoder/decode(_:_:)``, which ends the connection of a ``FrameProtocol``, and
/// by `write(frame:as:)`, which then has not written a byte. A plain value, usable on any thread.
@nonexhaustive
public enum FrameError: Error, Hashable, Sendable {
    /// The frame's payload is longer than allowed. Of a netstring that arrives the count is what the
    /// digits said when they passed the limit: the length is at least that.
    case tooLong(byteCount: UInt64, limitBytes: Int)

    /// The length field says fewer bytes than it counts of the header itself.
    case tooShort(byteCount: UInt64, headerByteCount: Int)

    /// The length of a netstring has this byte where a digit or the colon belongs; also a digit, if
    /// it stands behind a leading zero.
    case malformedLength(byte: UInt8)

    /// A varint length has not ended after ten bytes.
    case overlongVarint

    /// A netstring of so many bytes has another byte in the place of its comma.
    case missingComma(byteCount: Int, byte: UInt8)
}

extension FrameError: CustomStringConvertible {
    /// A sentence.
    public var description: String {
        switch self {
        case .tooLong(let byteCount, let limit):
            "a frame of \(byteCount) bytes; \(limit) are allowed"
        case .tooShort(let byteCount, let header):
            "a frame's length is given as \(byteCount); its header alone counts \(header)"
        case .malformedLength(let byte):
            "a netstring's length has the byte \(byte); allowed are digits without a leading zero"
        case .overlongVarint:
            "a frame's length is a varint of more than 10 bytes"
        case .missingComma(let byteCount, let byte):
            "a netstring of \(byteCount) bytes ends in the byte \(byte) instead of a comma"
        }
    }
}
