// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

internal import FoundationEssentials
internal import Glibc
@_spi(Tool) internal import TorsionCore

/// Prints a value as one line of JSON, its keys in order.
func printJSON(_ value: some Encodable) throws { print(try json(value)) }

/// One line of JSON, its keys in order, without a character that a terminal obeys or that ends a line.
func json(_ value: some Encodable) throws -> String {
    let encoder = JSONEncoder()
    encoder.outputFormatting = [.sortedKeys, .withoutEscapingSlashes]
    let text = String(decoding: try encoder.encode(value), as: UTF8.self)
    // The encoder escapes those below U+0020. The others stand in strings, as all that is not ASCII does.
    func isEscaped(_ scalar: Unicode.Scalar) -> Bool {
        scalar.value >= 0x7f && scalar.terminalText != String(scalar)
    }
    guard text.unicodeScalars.contains(where: isEscaped) else { return text }
    return text.unicodeScalars.map { scalar in
        guard isEscaped(scalar) else { return String(scalar) }
        return UTF16.encode(scalar)!.map {
            "\\u" + hexadecimal(UInt8($0 >> 8)) + hexadecimal(UInt8($0 & 255))
        }
        .joined()
    }.joined()
}

/// The parent gave the command no standard output.
struct ClosedOutput: Error, CustomStringConvertible {
    /// To be asked before the reactor runs, which puts `/dev/null` in its place: there everything goes in
    /// silence.
    static var isSo: Bool { fcntl(STDOUT_FILENO, F_GETFD) < 0 }

    let what: String
    var description: String { "standard output is closed: there is nowhere to print \(what)" }
}

/// Colour for people: on a terminal that can have it, unless `NO_COLOR` is set to something.
///
/// - SeeAlso: https://no-color.org
enum Colour: String {
    case green = "32"
    case yellow = "33"
    case red = "31"

    static let isOn =
        isatty(STDOUT_FILENO) == 1 && (variable("NO_COLOR") ?? "").isEmpty
        && variable("TERM") != "dumb"

    private static func variable(_ name: String) -> String? {
        getenv(name).map { String(cString: $0) }
    }

    /// The text in this colour, if there are colours.
    func callAsFunction(_ text: String) -> String {
        Self.isOn ? "\u{1b}[\(rawValue)m\(text)\u{1b}[0m" : text
    }
}

/// A duration in seconds, rounded to microseconds for people.
func seconds(_ duration: Duration) -> Double {
    ((duration / .microseconds(1))).rounded() / 1_000_000
}

/// A duration in milliseconds, rounded for people.
func milliseconds(_ duration: Duration) -> Double {
    ((duration / .milliseconds(1)) * 1_000).rounded() / 1_000
}
