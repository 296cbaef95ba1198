// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

internal import TorsionCore

/// The type of a record, or what a question asks for: RFC 1035 §3.2.2 and the registry of IANA.
///
/// A plain value, usable on any thread. Its text is the type's name, `TYPE` and a number for one
/// without (RFC 3597 §5).
public struct DNSRecordType: RawRepresentable, Hashable, Sendable {
    /// The number on the wire.
    public let rawValue: UInt16

    /// A type by its number.
    ///
    /// - Parameter rawValue: Any number.
    public init(rawValue: UInt16) { self.rawValue = rawValue }

    /// An IPv4 address: RFC 1035.
    public static let a = DNSRecordType(rawValue: 1)
    /// A name server of a zone: RFC 1035.
    public static let ns = DNSRecordType(rawValue: 2)
    /// The name that another name stands for: RFC 1035.
    public static let cname = DNSRecordType(rawValue: 5)
    /// The start of a zone: RFC 1035.
    public static let soa = DNSRecordType(rawValue: 6)
    /// The name of an address: RFC 1035.
    public static let ptr = DNSRecordType(rawValue: 12)
    /// Where mail for a domain goes: RFC 1035.
    public static let mx = DNSRecordType(rawValue: 15)
    /// Texts: RFC 1035.
    public static let txt = DNSRecordType(rawValue: 16)
    /// An IPv6 address: RFC 3596.
    public static let aaaa = DNSRecordType(rawValue: 28)
    /// Where a service is: RFC 2782.
    public static let srv = DNSRecordType(rawValue: 33)
    /// Options of a message, not a record of a zone: RFC 6891.
    public static let opt = DNSRecordType(rawValue: 41)
    /// How a service is reached: RFC 9460.
    public static let svcb = DNSRecordType(rawValue: 64)
    /// How an HTTP server is reached: RFC 9460.
    public static let https = DNSRecordType(rawValue: 65)
    /// Any type, in a question: RFC 8482.
    public static let any = DNSRecordType(rawValue: 255)
    /// The authorities that may issue certificates for a domain: RFC 8659.
    public static let caa = DNSRecordType(rawValue: 257)

    private static let names: [(DNSRecordType, String)] = [
        (.a, "A"), (.ns, "NS"), (.cname, "CNAME"), (.soa, "SOA"), (.ptr, "PTR"), (.mx, "MX"),
        (.txt, "TXT"), (.aaaa, "AAAA"), (.srv, "SRV"), (.opt, "OPT"), (.svcb, "SVCB"),
        (.https, "HTTPS"), (.any, "ANY"), (.caa, "CAA"),
    ]
}

extension DNSRecordType: LosslessStringConvertible {
    /// Reads the name of a type in either case, or `TYPE` and a number.
    ///
    /// - Parameter text: nil for anything else.
    public init?(_ text: String) {
        let name = text.uppercased()
        if let known = Self.names.first(where: { $0.1 == name }) {
            self = known.0
        } else if name.hasPrefix("TYPE"), let number = UInt16(name.dropFirst(4)) {
            self.init(rawValue: number)
        } else {
            return nil
        }
    }

    /// The type's name: `AAAA`, `TYPE99`.
    public var description: String {
        Self.names.first { $0.0 == self }?.1 ?? "TYPE\(rawValue)"
    }
}

/// How a name server answered: RFC 1035 §4.1.1, with the upper bits of RFC 6891 §6.1.3.
public struct DNSResponseCode: RawRepresentable, Hashable, Sendable, CustomStringConvertible {
    /// The number, of which twelve bits fit into a message with EDNS and four into one without.
    public let rawValue: UInt16

    /// A code by its number.
    ///
    /// - Parameter rawValue: 0 to 4,095; any other traps.
    public init(rawValue: UInt16) {
        require(rawValue < 4_096, "DNSResponseCode: 0 to 4,095 are codes, not \(rawValue)")
        self.rawValue = rawValue
    }

    /// `NOERROR`: the records are the answer, possibly zero.
    public static let noError = DNSResponseCode(rawValue: 0)
    /// `FORMERR`: the server could not read the query.
    public static let formatError = DNSResponseCode(rawValue: 1)
    /// `SERVFAIL`: the server could not find out.
    public static let serverFailure = DNSResponseCode(rawValue: 2)
    /// `NXDOMAIN`: the name does not exist.
    public static let nameError = DNSResponseCode(rawValue: 3)
    /// `NOTIMP`: the server cannot do this.
    public static let notImplemented = DNSResponseCode(rawValue: 4)
    /// `REFUSED`: the server does not do this for us.
    public static let refused = DNSResponseCode(rawValue: 5)
    /// `BADVERS`: the server does not know this version of EDNS.
    public static let badVersion = DNSResponseCode(rawValue: 16)

    /// Its name as in RFC 1035 and tools: `NXDOMAIN`, `RCODE99`.
    public var description: String {
        switch rawValue {
        case 0: "NOERROR"
        case 1: "FORMERR"
        case 2: "SERVFAIL"
        case 3: "NXDOMAIN"
        case 4: "NOTIMP"
        case 5: "REFUSED"
        case 16: "BADVERS"
        default: "RCODE\(rawValue)"
        }
    }
}

/// A question: a name and a type.
public struct DNSQuestion: Hashable, Sendable, CustomStringConvertible {
    /// The name that is asked for.
    public var name: DNSName
    /// The type of the records that are asked for.
    public var type: DNSRecordType
    /// The class: 1, that of the Internet, everywhere but in curiosities.
    public var classNumber: UInt16

    /// A question.
    ///
    /// - Parameters:
    ///   - name: The name that is asked for.
    ///   - type: The type of the records that are asked for.
    ///   - classNumber: 1 is the Internet.
    public init(name: DNSName, type: DNSRecordType, classNumber: UInt16 = 1) {
        self.name = name
        self.type = type
        self.classNumber = classNumber
    }

    /// `example.org. AAAA`.
    public var description: String {
        classNumber == 1 ? "\(name) \(type)" : "\(name) CLASS\(classNumber) \(type)"
    }
}
