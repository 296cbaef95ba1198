// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

/// One thing that went wrong in a simulated run: what, where, and for the how many-th time there.
///
/// It is a name, so that a list of faults can be printed, read, and made to happen again. As text:
/// `reset 3> 1` is the second chance of a reset on what the client of connection 3 sends, `<` what
/// the server sends; `stall 2. 40` is the forty-first turn of host 2, and `lose 1: 0` the first
/// datagram of the first port for them.
public struct Fault: Hashable, Sendable {
    /// The kinds of faults.
    public enum Kind: UInt8, CaseIterable, Sendable {
        /// A segment takes longer; those behind it wait.
        case delay
        /// A segment is sent in two.
        case split
        /// A read brings less than there is.
        case cutRead
        /// A write takes less than there is room for.
        case cutWrite
        /// A write takes zero bytes, as if the buffer were full.
        case fullBuffer
        /// Something that is ready is reported in a later turn.
        case late
        /// A host is not turned for a while, as if it were stopped.
        case stall
        /// Hosts are turned in another order.
        case order
        /// Two hosts do not reach each other for a while. Bytes that are sent meanwhile arrive
        /// afterwards.
        case partition
        /// Both ends see a reset.
        case reset
        /// The receiver sees the end, the sender a broken pipe; what was not sent is lost.
        case end
        /// A connect is refused though the address is listened at.
        case refuse
        /// A connect is never answered.
        case ignore
        /// Descriptors run out in accept.
        case shortage
        /// A datagram is lost.
        case lose
        /// A datagram arrives twice.
        case duplicate
        /// A datagram takes longer, and those behind it do not wait.
        case reorder

        /// Whether a program that is right may lose a connection by it.
        public var isBreaking: Bool {
            switch self {
            case .delay, .split, .cutRead, .cutWrite, .fullBuffer, .late, .stall, .order: false
            case .partition, .reset, .end, .refuse, .ignore, .shortage: true
            case .lose, .duplicate, .reorder: true
            }
        }
    }

    /// Whose chance it was.
    public enum Place: UInt8, Sendable {
        /// The client of a connection.
        case client = 0x3e  // >
        /// The server of a connection.
        case server = 0x3c  // <
        /// A host, or, numbered 0, the network.
        case host = 0x2e  // .
        /// A port for datagrams.
        case port = 0x3a  // :
    }

    /// The error.
    public let kind: Kind
    /// The number of the connection or the host.
    public let number: UInt32
    /// Which side of it.
    public let place: Place
    /// How many chances of this kind had gone by there.
    public let ordinal: UInt32

    /// Names a fault.
    ///
    /// - Parameters:
    ///   - kind: The kind of the fault.
    ///   - number: Of the connection, the host or the port.
    ///   - place: Which side of it.
    ///   - ordinal: How many chances of this kind had gone by there.
    public init(kind: Kind, number: UInt32, place: Place, ordinal: UInt32) {
        self.kind = kind
        self.number = number
        self.place = place
        self.ordinal = ordinal
    }
}

extension Fault: LosslessStringConvertible {
    /// As in `reset 3> 1`.
    public var description: String {
        "\(kind) \(number)\(Character(Unicode.Scalar(place.rawValue))) \(ordinal)"
    }

    /// Reads what ``description`` gives; nil for anything else.
    ///
    /// - Parameter text: For example `reset 3> 1`.
    public init?(_ text: String) {
        let words = text.split(separator: " ")
        guard words.count == 3, let kind = Kind.allCases.first(where: { "\($0)" == words[0] }),
            let sign = words[1].utf8.last, let place = Place(rawValue: sign),
            let number = UInt32(words[1].dropLast()), let ordinal = UInt32(words[2])
        else { return nil }
        self.init(kind: kind, number: number, place: place, ordinal: ordinal)
    }
}
