// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

/// The parts of an endpoint's text, before anybody asks what they mean:
/// `type:part:part:option=value`.
///
/// A backslash takes the next character as it is; colons inside brackets separate nothing, so that
/// an IPv6 address can be written `[::1]`.
///
/// - SeeAlso: Twisted `twisted.internet.endpoints.serverFromString`.
struct EndpointDescription {
    let type: String
    private(set) var parts: [String] = []
    private(set) var options: [String: String] = [:]

    init(parsing text: String) throws(EndpointError) {
        var fields = Self.split(text)
        type = fields.removeFirst().value
        for field in fields {
            guard let name = field.name else {
                parts.append(field.value)
                continue
            }
            guard options.updateValue(field.value, forKey: name) == nil else {
                throw .repeatedOption(name)
            }
        }
    }

    private struct Field {
        var name: String?
        var value = ""
    }

    private static func split(_ text: String) -> [Field] {
        var fields = [Field()]
        var isEscaped = false
        var isBracketed = false
        for character in text {
            let last = fields.count - 1
            switch character {
            case _ where isEscaped:
                fields[last].value.append(character)
                isEscaped = false
            case "\\":
                isEscaped = true
            case ":" where !isBracketed:
                fields.append(Field())
            case "=" where fields[last].name == nil && !isBracketed:
                fields[last] = Field(name: fields[last].value)
            default:
                if character == "[" { isBracketed = true }
                if character == "]" { isBracketed = false }
                fields[last].value.append(character)
            }
        }
        return fields
    }

    // MARK: What the types ask for

    /// The part at a position, by the name that an error would give it.
    func part(_ index: Int, _ name: String) throws(EndpointError) -> String {
        guard index < parts.count, !parts[index].isEmpty else {
            throw .missing(name, type: type)
        }
        return parts[index]
    }

    func refuseParts(after count: Int) throws(EndpointError) {
        if parts.count > count { throw .unexpected(parts[count], type: type) }
    }

    func refuseOptions(besides allowed: [String]) throws(EndpointError) {
        let unknown = options.keys.filter { !allowed.contains($0) }.sorted().first
        if let unknown { throw .unknownOption(unknown, type: type, allowed: allowed) }
    }

    func port(_ index: Int) throws(EndpointError) -> UInt16 {
        let text = try part(index, "port")
        return UInt16(try number(text, "port", in: 0...65_535))
    }

    /// A port, on all interfaces of a family or on the one that the option `interface` names.
    func address(isIPv6: Bool) throws(EndpointError) -> SocketAddress {
        let port = try port(0)
        guard let text = options["interface"] else {
            return isIPv6 ? .ipv6(.any, port: port) : .ipv4(.any, port: port)
        }
        guard let address = SocketAddress(host: text.withoutBrackets, port: port) else {
            throw .invalid("interface", value: text, allowed: "an IPv4 address, or [IPv6 address]")
        }
        return address
    }

    /// The access mode of a file.
    func mode() throws(EndpointError) -> UInt16? {
        guard let text = options["mode"] else { return nil }
        guard let mode = UInt16(text, radix: 8), mode <= 0o777 else {
            throw .invalid("mode", value: text, allowed: "three octal digits, as in 600")
        }
        return mode
    }

    func number(
        _ text: String, _ name: String, in range: ClosedRange<UInt32>
    ) throws(EndpointError) -> UInt32 {
        let digits = Array(text.utf8)[...]
        guard let value = decimal(digits, max: range.upperBound), value >= range.lowerBound else {
            throw .invalid(
                name, value: text, allowed: "\(range.lowerBound) to \(range.upperBound)")
        }
        return value
    }

    func flag(_ name: String) throws(EndpointError) -> Bool? {
        switch options[name] {
        case nil: return nil
        case "yes"?: return true
        case "no"?: return false
        case let other?: throw .invalid(name, value: other, allowed: "yes or no")
        }
    }

    func seconds(_ name: String) throws(EndpointError) -> Duration? {
        guard let text = options[name] else { return nil }
        return .seconds(try number(text, name, in: 1...86_400))
    }
}

extension StreamOptions {
    /// The options that every type of stream endpoint has.
    static let describedOptions = ["nodelay", "keepalive"]

    mutating func apply(_ description: EndpointDescription) throws(EndpointError) {
        if let flag = try description.flag("nodelay") { noDelay = flag }
        if let idle = try description.seconds("keepalive") { keepAlive = KeepAlive(idle: idle) }
    }
}

extension UnixAddress {
    /// A path, or an abstract name after an `@`.
    init(described text: String) throws(EndpointError) {
        let isAbstract = text.first == "@"
        let name = isAbstract ? Array(text.utf8.dropFirst()) : Array(text.utf8)
        guard !name.isEmpty, name.count <= Self.maximumByteCount, !name.contains(0) else {
            throw .invalid(
                "path", value: text,
                allowed: "1 to \(Self.maximumByteCount) bytes, or @ and an abstract name")
        }
        self = isAbstract ? .abstract(name) : .path(text)
    }
}
