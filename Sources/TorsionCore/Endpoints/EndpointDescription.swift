// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

/// The parts of an endpoint's text, before anybody asks what they mean:
/// `type:part:part:option=value`.
///
/// A backslash takes the next byte as it is. Colons in a part or a value that begins with a bracket
/// separate nothing until it is closed, so that an IPv6 address can be written `[::1]`. It is bytes
/// that separate: a letter of Unicode may join a colon to what follows.
///
/// - SeeAlso: Twisted `twisted.internet.endpoints.serverFromString`.
struct EndpointDescription {
    let type: String
    /// How an endpoint of the type may be written.
    private let example: String
    private(set) var parts: [String] = []
    private(set) var options: [String: String] = [:]

    /// `types`: Those that are allowed, each with an example.
    init(
        parsing text: String, types: KeyValuePairs<String, String>
    ) throws(EndpointError) {
        var fields = try Self.split(text)
        let first = fields.removeFirst()
        let type = first.name.map { "\($0)=\(first.value)" } ?? first.value
        guard let known = types.first(where: { $0.key == type }) else {
            throw .unknownType(type, allowed: types.map(\.key))
        }
        (self.type, example) = known
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
        var bytes: [UInt8] = []

        var value: String { String(decoding: bytes, as: UTF8.self) }
    }

    private static func split(_ text: String) throws(EndpointError) -> [Field] {
        var fields: [Field] = []
        var field = Field()
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
                field = Field()
            case UInt8(ascii: "=") where field.name == nil && !isBracketed:
                field = Field(name: field.value)
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

    // MARK: What the types ask for

    /// The part at a position, by the name that an error would give it.
    func part(_ index: Int, _ name: String) throws(EndpointError) -> String {
        guard index < parts.count, !parts[index].isEmpty else {
            throw .missing(name, type: type, example: example)
        }
        return parts[index]
    }

    func refuseParts(after count: Int) throws(EndpointError) {
        guard parts.count > count else { return }
        throw .unexpected(parts[count], type: type, example: example)
    }

    func refuseOptions(besides allowed: [String]) throws(EndpointError) {
        let unknown = options.keys.filter { !allowed.contains($0) }.sorted().first
        if let unknown { throw .unknownOption(unknown, type: type, allowed: allowed) }
    }

    func port(_ index: Int, from lowest: UInt32) throws(EndpointError) -> UInt16 {
        let text = try part(index, "port")
        return UInt16(try number(text, "port", in: lowest...65_535))
    }

    func descriptor(_ index: Int) throws(EndpointError) -> Int32 {
        let text = try part(index, "descriptor")
        return Int32(try number(text, "descriptor", in: 0...UInt32(Int32.max)))
    }

    /// `fd:NUMBER`.
    func adoptedSocket() throws(EndpointError) -> OpenSocket {
        try refuseParts(after: 1)
        return .descriptor(try descriptor(0))
    }

    /// `systemd:NAME`, or `systemd:index=N`.
    func systemdSocket() throws(EndpointError) -> OpenSocket {
        guard let index = options["index"] else {
            try refuseParts(after: 1)
            return .systemd(try part(0, "name"))
        }
        try refuseParts(after: 0)
        return .systemdPlace(Int(try number(index, "index", in: 0...4_095)))
    }

    /// A port, on all interfaces of a family or on the one that the option `interface` names.
    func address(isIPv6: Bool) throws(EndpointError) -> SocketAddress {
        let port = try port(0, from: 0)
        guard let text = options["interface"] else {
            return isIPv6 ? .ipv6(.any, port: port) : .ipv4(.any, port: port)
        }
        switch SocketAddress(described: text, port: port) {
        case .ipv4? where isIPv6:
            throw .invalid("interface", value: text, allowed: "an IPv6 address as in [::1]")
        case let address?:
            return address
        case nil:
            throw .invalid("interface", value: text, allowed: SocketAddress.describedForms)
        }
    }

    /// The access mode of a file: three octal digits, also behind a zero as `chmod(2)` has it.
    func mode() throws(EndpointError) -> UInt16? {
        guard let text = options["mode"] else { return nil }
        var digits = Array(text.utf8)[...]
        if digits.count == 4, digits.first == UInt8(ascii: "0") { digits.removeFirst() }
        let octal = UInt8(ascii: "0")...UInt8(ascii: "7")
        guard digits.count == 3, digits.allSatisfy(octal.contains) else {
            throw .invalid("mode", value: text, allowed: "three octal digits, as in 600")
        }
        return digits.reduce(0) { $0 * 8 + UInt16($1 - UInt8(ascii: "0")) }
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

    func keepAliveIdle(_ text: String) throws(EndpointError) -> Duration {
        let longest = StreamOptions.KeepAlive.longest.components.seconds
        guard let value = decimal(Array(text.utf8)[...], max: UInt32(longest)), value > 0 else {
            throw .invalid("keepalive", value: text, allowed: "1 to \(longest), or no")
        }
        return .seconds(value)
    }

    func seconds(_ name: String, atMost limit: UInt32) throws(EndpointError) -> Duration? {
        guard let text = options[name] else { return nil }
        return .seconds(try number(text, name, in: 1...limit))
    }
}

extension StreamOptions {
    /// The options that every type of stream endpoint has.
    static let describedOptions = ["nodelay", "keepalive"]

    mutating func apply(_ description: EndpointDescription) throws(EndpointError) {
        if let flag = try description.flag("nodelay") { noDelay = flag }
        guard let text = description.options["keepalive"] else { return }
        keepAlive = text == "no" ? nil : KeepAlive(idle: try description.keepAliveIdle(text))
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

extension SocketAddress {
    /// What may stand for an address, in the words of an error.
    static let describedForms = "an IPv4 address, or an IPv6 address as in [::1]"

    /// Reads an IPv4 address, or an IPv6 address with or without brackets.
    init?(described text: String, port: UInt16) {
        guard text.first == "[", text.last == "]" else {
            self.init(host: text, port: port)
            return
        }
        guard let address = IPv6Address(String(text.dropFirst().dropLast())) else { return nil }
        self = .ipv6(address, port: port)
    }
}
