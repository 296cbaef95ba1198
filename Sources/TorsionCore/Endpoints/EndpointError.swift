// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

/// A description of an endpoint that says nothing we can use.
@nonexhaustive
public enum EndpointError: Error, Hashable, Sendable {
    /// The word before the first colon names no type.
    case unknownType(String, allowed: [String])
    /// A part that the type needs is missing.
    case missing(String, type: String)
    /// There are more parts without a name than the type takes.
    case unexpected(String, type: String)
    /// An option that the type does not have.
    case unknownOption(String, type: String, allowed: [String])
    /// An option that stands there twice.
    case repeatedOption(String)
    /// A value that cannot be read.
    case invalid(String, value: String, allowed: String)
}

extension EndpointError: CustomStringConvertible {
    /// A sentence that says what is allowed.
    public var description: String {
        switch self {
        case .unknownType(let type, let allowed):
            "unknown endpoint type '\(type)': allowed are \(allowed.joined(separator: ", "))"
        case .missing(let part, let type):
            "an endpoint of type '\(type)' needs a \(part), as in '\(Self.example(of: type))'"
        case .unexpected(let part, let type):
            "'\(part)' is one part too many for an endpoint of type '\(type)',"
                + " as in '\(Self.example(of: type))'"
        case .unknownOption(let option, let type, let allowed):
            "an endpoint of type '\(type)' has no option '\(option)':"
                + " allowed are \(allowed.joined(separator: ", "))"
        case .repeatedOption(let option):
            "the option '\(option)' is given twice"
        case .invalid(let part, let value, let allowed):
            "'\(value)' is no valid \(part): allowed is \(allowed)"
        }
    }

    private static func example(of type: String) -> String {
        switch type {
        case "unix": "unix:/run/echo.socket"
        case "tcp client": "tcp:example.org:80"
        case "udp": "udp:9000:interface=127.0.0.1"
        case "udp6": "udp6:9000:interface=[::1]"
        case "unix-datagram": "unix-datagram:/run/log.socket"
        default: "tcp:8080:interface=127.0.0.1"
        }
    }
}
