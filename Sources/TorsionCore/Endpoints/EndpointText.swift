// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

// How the parts of the standard types are read and written. Reading and writing stand side by side:
// what one says, the other understands.

/// An endpoint's text while it is written.
struct EndpointText {
    private(set) var text: String

    /// `type` and `parts`: As they stand in the text.
    init(_ type: String, _ parts: String...) { text = ([type] + parts).joined(separator: ":") }

    /// `value`: As it stands in the text; nil writes nothing.
    mutating func add(_ name: String, _ value: String?) {
        if let value { text += ":\(name)=\(value)" }
    }
}

extension EndpointArguments {
    /// A port, on all interfaces of a family or on the one that the option `interface` names.
    mutating func address(isIPv6: Bool) throws(EndpointError) -> SocketAddress {
        let port = UInt16(try argument("port", in: 0...65_535))
        guard let text = option("interface") else {
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

    mutating func unixAddress() throws(EndpointError) -> SocketAddress {
        .unix(try UnixAddress(described: try argument("path")))
    }

    mutating func descriptor() throws(EndpointError) -> GivenDescriptor {
        let number = Int32(try argument("descriptor", in: 0...Int(Int32.max)))
        return GivenDescriptor(number, isOfText: true)
    }

    /// `pipe:INPUT:OUTPUT`, or one of them by its name.
    mutating func openPair() throws(EndpointError) -> OpenPair {
        let numbers = 0...Int(Int32.max)
        let input = try option("input", in: numbers), output = try option("output", in: numbers)
        if input != nil || output != nil {
            return OpenPair(
                input: input.map { Int32($0) }, output: output.map { Int32($0) }, isOfText: true)
        }
        return OpenPair(
            input: Int32(try argument("input", in: numbers)),
            output: Int32(try argument("output", in: numbers)), isOfText: true)
    }

    /// `systemd:NAME`, or `systemd:index=N`.
    mutating func systemdSocket() throws(EndpointError) -> OpenSocket {
        if let index = try option("index", in: 0...4_095) { return .systemdPlace(index) }
        return .systemd(try argument("name"))
    }

    /// The access mode of a file: three octal digits, also behind a zero as `chmod(2)` has it.
    mutating func mode() throws(EndpointError) -> UInt16? {
        guard let text = option("mode") else { return nil }
        var digits = Array(text.utf8)[...]
        if digits.count == 4, digits.first == UInt8(ascii: "0") { digits.removeFirst() }
        let octal = UInt8(ascii: "0")...UInt8(ascii: "7")
        guard digits.count == 3, digits.allSatisfy(octal.contains) else {
            throw .invalid("mode", value: text, allowed: "three octal digits, as in 600")
        }
        return digits.reduce(0) { $0 * 8 + UInt16($1 - UInt8(ascii: "0")) }
    }
}

extension EndpointText {
    /// A port, `type6` for all of IPv6's interfaces; or a UNIX address, for a type that has them.
    init(port address: SocketAddress, type: String) {
        switch address {
        case .ipv4(let own, let port):
            self.init(type, "\(port)")
            if own != .any { add("interface", own.description) }
        case .ipv6(.any, let port):
            self.init("\(type)6", "\(port)")
        case .ipv6(let own, let port):
            self.init(type, "\(port)")
            add("interface", "[\(own)]")
        case .unix(let path):
            self.init(type, path.described)
        case .descriptor(let name):
            self.init(type, EndpointParser.escaped(name))
        }
    }

    init(_ socket: OpenSocket) {
        switch socket {
        case .descriptor(let descriptor): self.init("fd", "\(descriptor.number)")
        case .systemd(let name): self.init("systemd", EndpointParser.escaped(name))
        case .systemdPlace(let index): self.init("systemd", "index=\(index)")
        }
    }

    init(_ pair: OpenPair) {
        switch (pair.input, pair.output) {
        case (let input?, let output?): self.init("pipe", "\(input)", "\(output)")
        case (let input, let output):
            self.init("pipe")
            add("input", input.map { "\($0)" })
            add("output", output.map { "\($0)" })
        }
    }

    mutating func add(mode: UInt16?) {
        guard let mode else { return }
        let digits = String(mode & 0o777, radix: 8)
        add("mode", String(repeating: "0", count: max(0, 3 - digits.count)) + digits)
    }
}

extension StreamOptions {
    /// What a socket that listens for clients of a network has, besides what every socket has.
    mutating func readListening(_ arguments: inout EndpointArguments) throws(EndpointError) {
        try readBacklog(&arguments)
        if let flag = try arguments.flag("reuseport") { reusePort = flag }
    }

    mutating func readBacklog(_ arguments: inout EndpointArguments) throws(EndpointError) {
        if let count = try arguments.option("backlog", in: 1...65_535) { backlog = count }
    }

    /// What a socket that connects to a network has, besides what every socket has.
    mutating func readConnecting(_ arguments: inout EndpointArguments) throws(EndpointError) {
        try readTimeout(&arguments)
        guard let own = arguments.option("bindAddress") else { return }
        guard let address = SocketAddress(described: own, port: 0) else {
            throw .invalid("bindAddress", value: own, allowed: SocketAddress.describedForms)
        }
        bindAddress = address
    }

    mutating func readTimeout(_ arguments: inout EndpointArguments) throws(EndpointError) {
        guard let seconds = try arguments.option("timeout", in: 1...86_400) else { return }
        connectTimeout = .seconds(seconds)
    }

    /// What every socket of a network has.
    mutating func readSocket(_ arguments: inout EndpointArguments) throws(EndpointError) {
        if let flag = try arguments.flag("nodelay") { noDelay = flag }
        guard let text = arguments.option("keepalive") else { return }
        guard text != "no" else {
            keepAlive = nil
            return
        }
        let longest = KeepAlive.longest.components.seconds
        guard let value = decimal(Array(text.utf8)[...], max: UInt32(longest)), value > 0 else {
            throw .invalid("keepalive", value: text, allowed: "1 to \(longest), or no")
        }
        keepAlive = KeepAlive(idle: .seconds(value))
    }
}

extension EndpointText {
    mutating func addListening(_ options: StreamOptions) {
        addBacklog(options)
        if options.reusePort { add("reuseport", "yes") }
    }

    mutating func addBacklog(_ options: StreamOptions) {
        guard options.backlog != StreamOptions().backlog else { return }
        add("backlog", "\(min(max(options.backlog, 1), 65_535))")
    }

    mutating func addConnecting(_ options: StreamOptions) {
        addTimeout(options)
        switch options.bindAddress {
        case .ipv4(let own, _)?: add("bindAddress", own.description)
        case .ipv6(let own, _)?: add("bindAddress", "[\(own)]")
        case .unix?, .descriptor?, nil: break
        }
    }

    mutating func addTimeout(_ options: StreamOptions) {
        guard options.connectTimeout != StreamOptions().connectTimeout else { return }
        add("timeout", options.connectTimeout.described(upTo: 86_400))
    }

    mutating func addSocket(_ options: StreamOptions) {
        if !options.noDelay { add("nodelay", "no") }
        guard options.keepAlive != StreamOptions().keepAlive else { return }
        let longest = StreamOptions.KeepAlive.longest.components.seconds
        add("keepalive", options.keepAlive.map { $0.idle.described(upTo: longest) } ?? "no")
    }
}

extension Duration {
    /// Whole seconds, at least one: what a text can say of it.
    fileprivate func described(upTo limit: Int64) -> String {
        "\(min(max(components.seconds, 1), limit))"
    }
}

extension UnixAddress {
    /// A path, or an abstract name after an `@`.
    init(described text: String) throws(EndpointError) {
        let isAbstract = text.utf8.first == UInt8(ascii: "@")
        let name = isAbstract ? Array(text.utf8.dropFirst()) : Array(text.utf8)
        guard !name.isEmpty, name.count <= Self.maximumByteCount, !name.contains(0) else {
            throw .invalid(
                "path", value: text,
                allowed: "1 to \(Self.maximumByteCount) bytes, or @ and an abstract name")
        }
        self = isAbstract ? .abstract(name) : .path(text)
    }

    /// As it stands in an endpoint's text.
    var described: String {
        switch self {
        // Else it would be an abstract name.
        case .path(let path) where path.utf8.first == UInt8(ascii: "@"):
            "./\(EndpointParser.escaped(path))"
        case .path(let path): EndpointParser.escaped(path)
        case .abstract(let name):
            EndpointParser.escaped("@" + String(decoding: name, as: UTF8.self))
        case .unnamed: ""
        }
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
