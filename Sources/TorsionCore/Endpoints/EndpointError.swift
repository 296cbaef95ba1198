// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

/// A description of an endpoint that cannot be used.
@nonexhaustive
public enum EndpointError: Error, Hashable, Sendable {
    /// The word before the first colon does not name a type.
    case unknownType(String, allowed: [String])
    /// A part that the type needs is missing.
    case missing(String, type: String, example: String)
    /// There are more parts without a name than the type takes.
    case unexpected(String, type: String, example: String)
    /// An option that the type does not have.
    case unknownOption(String, type: String, allowed: [String])
    /// An option that stands there twice.
    case repeatedOption(String)
    /// A value that cannot be read.
    case invalid(String, value: String, allowed: String)
    /// A type that was added to a parser failed for a reason of its own, such as a file that is not
    /// there.
    case failed(type: String, reason: String)
}

extension EndpointError: CustomStringConvertible {
    /// A sentence that says what is allowed, with what was written in printable ASCII.
    public var description: String {
        switch self {
        case .unknownType(let type, let allowed):
            type.isEmpty
                ? "an endpoint begins with its type: allowed are \(listed(allowed))"
                : "unknown endpoint type \(quoted(type)): allowed are \(listed(allowed))"
        case .missing(let part, let type, let example):
            "an endpoint of type '\(type)' needs \("aeio".contains(part.first ?? "x") ? "an" : "a")"
                + " \(part), as in '\(example)'"
        case .unexpected(let part, let type, let example):
            "\(quoted(part)) is one part too many for an endpoint of type '\(type)',"
                + " as in '\(example)'"
        case .unknownOption(let option, let type, let allowed):
            "an endpoint of type '\(type)' has no option \(quoted(option)):"
                + " allowed are \(listed(allowed))"
        case .repeatedOption(let option):
            "the option \(quoted(option)) is given twice"
        case .invalid(let part, let value, let allowed):
            "\(quoted(value)) is no valid \(part): allowed is \(allowed)"
        case .failed(let type, let reason):
            "an endpoint of type '\(type)' cannot be made: \(reason)"
        }
    }
}

private func listed(_ words: [String]) -> String {
    words.isEmpty ? "none" : words.joined(separator: ", ")
}

/// What somebody wrote, without tricks and not at any length: errors end up on terminals.
private func quoted(_ text: String) -> String {
    let shown = text.utf8.prefix(80)
    let isWhole = shown.endIndex == text.utf8.endIndex
    return "'\(shown.map(printable).joined())\(isWhole ? "" : "…")'"
}
