// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

/// The text behind the type in an endpoint's text, for the reader of that type.
///
/// Take what the type needs, in the order of its positions. Arguments that are left when the reader
/// has returned are refused, with an error that lists the names which it asked for. A type that
/// stands on another leaves that one's parts to it:
///
///     EndpointParser.standard.adding(
///         server: "throttled", example: "throttled:8080:rate=1000"
///     ) { arguments in
///         let endpoint = try ServerEndpoint.tcp(reading: &arguments)
///         let rate = try arguments.option("rate", in: 1...1_000_000) ?? 1_000
///         return endpoint.filtered { Throttle(writing: ThrottleRate(bytesPerSecond: rate)) }
///     }
///
/// A value, usable on any thread.
public struct EndpointArguments: Sendable {
    /// The word before the first colon.
    public let type: String

    /// The parser of the text: for a type that has another endpoint's text as a part.
    public let parser: EndpointParser

    private let example: String
    private var parts: ArraySlice<String>
    private var options: [String: String] = [:]
    /// The names that were asked for, in order.
    private var asked: [String] = []

    init(
        type: String, example: String, _ fields: [EndpointField], parser: EndpointParser
    ) throws(EndpointError) {
        self.type = type
        self.example = example
        self.parser = parser
        var parts: [String] = []
        for field in fields {
            guard let name = field.name else {
                parts.append(field.value)
                continue
            }
            guard options.updateValue(field.value, forKey: name) == nil else {
                throw .repeatedOption(name)
            }
        }
        // The colon of `stdio:` begins no part.
        self.parts = parts == [""] ? [] : parts[...]
    }

    // MARK: What a type needs

    /// Takes a required argument: the option of that name, else the next part without a name.
    ///
    /// - Parameter name: Its name, in the text and in errors.
    /// - Returns: At least one character.
    /// - Throws: ``EndpointError/missing(_:type:example:)`` if it is not there, or empty.
    public mutating func argument(_ name: String) throws(EndpointError) -> String {
        guard let value = option(name) ?? parts.popFirst(), !value.isEmpty else {
            throw .missing(name, type: type, example: example)
        }
        return value
    }

    /// Takes a number that the type needs: the option of that name, else the next part without one.
    ///
    /// - Parameters:
    ///   - name: Its name, in the text and in errors.
    ///   - range: The allowed values, from 0 to 4,294,967,295.
    /// - Returns: The number.
    /// - Throws: ``EndpointError`` if it is missing, or is not a number of the range in plain
    ///   digits.
    public mutating func argument(
        _ name: String, in range: ClosedRange<Int>
    ) throws(EndpointError) -> Int {
        try number(try argument(name), name, in: range)
    }

    /// Takes all parts without a name that are left.
    ///
    /// - Returns: Each as it was written, without its backslashes; empty ones too.
    public mutating func remainingArguments() -> [String] {
        defer { parts = [] }
        return Array(parts)
    }

    // MARK: What may be left out

    /// Takes the value of an option.
    ///
    /// - Parameter name: Its name.
    /// - Returns: The value, which may be empty; nil without the option.
    public mutating func option(_ name: String) -> String? {
        asked.append(name)
        return options.removeValue(forKey: name)
    }

    /// Takes the value of an option that is a number.
    ///
    /// - Parameters:
    ///   - name: Its name.
    ///   - range: The allowed values, from 0 to 4,294,967,295.
    /// - Returns: The number; nil without the option.
    /// - Throws: ``EndpointError/invalid(_:value:allowed:)`` for anything else.
    public mutating func option(
        _ name: String, in range: ClosedRange<Int>
    ) throws(EndpointError) -> Int? {
        guard let text = option(name) else { return nil }
        return try number(text, name, in: range)
    }

    /// Takes an option that is `yes` or `no`.
    ///
    /// - Parameter name: Its name.
    /// - Returns: Whether it is `yes`; nil without the option.
    /// - Throws: ``EndpointError/invalid(_:value:allowed:)`` for anything else.
    public mutating func flag(_ name: String) throws(EndpointError) -> Bool? {
        switch option(name) {
        case nil: return nil
        case "yes"?: return true
        case "no"?: return false
        case let other?: throw .invalid(name, value: other, allowed: "yes or no")
        }
    }

    // MARK: Inside

    func number(
        _ text: String, _ name: String, in range: ClosedRange<Int>
    ) throws(EndpointError) -> Int {
        require(
            range.lowerBound >= 0 && range.upperBound <= UInt32.max,
            "EndpointArguments: numbers are from 0 to \(UInt32.max), not \(range)")
        let digits = Array(text.utf8)[...]
        let value = decimal(digits, max: UInt32(range.upperBound)).map { Int($0) }
        guard let value, value >= range.lowerBound else {
            throw .invalid(
                name, value: text, allowed: "\(range.lowerBound) to \(range.upperBound)")
        }
        return value
    }

    /// Behind the type's reader.
    func refuseRest() throws(EndpointError) {
        if let part = parts.first { throw .unexpected(part, type: type, example: example) }
        guard let name = options.keys.min() else { return }
        throw .unknownOption(name, type: type, allowed: asked)
    }
}

/// What stands between two colons: bytes separate, since a letter of Unicode may join a colon to what
/// follows.
struct EndpointField {
    var name: String?
    private var bytes: [UInt8] = []

    var value: String { String(decoding: bytes, as: UTF8.self) }

    /// - Returns: At least one.
    static func split(_ text: String) throws(EndpointError) -> [EndpointField] {
        var fields: [EndpointField] = []
        var field = EndpointField()
        var isEscaped = false
        var isBracketed = false
        for byte in text.utf8 {
            switch byte {
            case _ where isEscaped:
                field.bytes.append(byte)
                isEscaped = false
            case UInt8(ascii: "\\"):
                isEscaped = true
            case UInt8(ascii: ":") where !isBracketed:
                fields.append(field)
                field = EndpointField()
            case UInt8(ascii: "=") where field.name == nil && !isBracketed:
                field = EndpointField(name: field.value)
            default:
                if byte == UInt8(ascii: "["), field.bytes.isEmpty { isBracketed = true }
                if byte == UInt8(ascii: "]") { isBracketed = false }
                field.bytes.append(byte)
            }
        }
        guard !isEscaped else {
            throw .invalid("escape", value: "\\", allowed: "a backslash and one more character")
        }
        return fields + [field]
    }
}
