// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

/// Reads endpoints from texts as configurations and command lines have them:
/// `type:part:part:option=value`.
///
///     let endpoints = EndpointParser.standard.adding(
///         client: "service", example: "service:mail"
///     ) { arguments in
///         ClientEndpoint.unix(path: "/run/\(try arguments.argument("name")).socket")
///     }
///     try endpoints.client(parsing: text).connect(on: reactor) { Greeter() }
///
/// A value without global state, usable on any thread: which types there are is decided by who reads
/// the text. If the types of ``standard`` are enough, `ServerEndpoint(parsing:)` and
/// `ClientEndpoint(parsing:)` do the same.
///
/// A type's arguments can be written by position or by name: `tcp:example.org:80` is
/// `tcp:host=example.org:port=80`. A backslash takes the next character as it is; ``escaped(_:)``
/// writes it where it is needed. Colons in brackets do not separate: `[::1]`.
///
/// - SeeAlso: Twisted `IStreamServerEndpointStringParser`, `serverFromString`.
public struct EndpointParser: Sendable {
    private var servers: [EndpointType<any StreamServerEndpoint>]
    private var clients: [EndpointType<any StreamClientEndpoint>]

    /// The types that Torsion brings: `tcp`, `tcp6`, `unix`, `stdio`, `fd` and `systemd` for
    /// servers, `tcp`, `unix` and `fd` for clients.
    ///
    /// `ServerEndpoint.init(parsing:)` and `ClientEndpoint.init(parsing:)` say how each is written.
    public static let standard = EndpointParser(
        servers: ServerEndpoint.types.map { type in
            EndpointType(type.name, type.example) { arguments throws(EndpointError) in
                try type.read(&arguments)
            }
        },
        clients: ClientEndpoint.types.map { type in
            EndpointType(type.name, type.example) { arguments throws(EndpointError) in
                try type.read(&arguments)
            }
        })

    private init(
        servers: [EndpointType<any StreamServerEndpoint>],
        clients: [EndpointType<any StreamClientEndpoint>]
    ) {
        self.servers = servers
        self.clients = clients
    }

    // MARK: Adding types

    /// The same with a type of server endpoint, in place of one of that name.
    ///
    /// - Parameters:
    ///   - name: The word before the first colon: not empty, without `:`, `=` and `\`.
    ///   - example: How an endpoint of the type may be written, for errors.
    ///   - read: Makes an endpoint of the arguments. Arguments that it does not ask for are refused
    ///     afterwards. It is called on the thread that parses, at once. An ``EndpointError`` that
    ///     it throws comes out as it is, anything else as ``EndpointError/failed(type:reason:)``.
    /// - Returns: A parser that knows the type as well.
    public func adding(
        server name: String, example: String,
        _ read: @escaping @Sendable (inout EndpointArguments) throws -> any StreamServerEndpoint
    ) -> EndpointParser {
        var parser = self
        parser.servers.set(EndpointType(name, example, throwing: read))
        return parser
    }

    /// The same with a type of client endpoint, in place of one of that name.
    ///
    /// - Parameters:
    ///   - name: The word before the first colon: not empty, without `:`, `=` and `\`.
    ///   - example: How an endpoint of the type may be written, for errors.
    ///   - read: Makes an endpoint of the arguments. Arguments that it does not ask for are refused
    ///     afterwards. It is called on the thread that parses, at once. An ``EndpointError`` that
    ///     it throws comes out as it is, anything else as ``EndpointError/failed(type:reason:)``.
    /// - Returns: A parser that knows the type as well.
    public func adding(
        client name: String, example: String,
        _ read: @escaping @Sendable (inout EndpointArguments) throws -> any StreamClientEndpoint
    ) -> EndpointParser {
        var parser = self
        parser.clients.set(EndpointType(name, example, throwing: read))
        return parser
    }

    // MARK: Parsing

    /// Reads where a server listens.
    ///
    /// - Parameter text: As `tcp:8080:interface=127.0.0.1`, of any length.
    /// - Returns: The endpoint, which has not opened anything yet.
    /// - Throws: ``EndpointError``, which says what is allowed.
    /// - Complexity: O(*n*) in the length of the text.
    public func server(
        parsing text: String
    ) throws(EndpointError) -> any StreamServerEndpoint {
        try servers.read(text, by: self)
    }

    /// Reads where a client connects to.
    ///
    /// - Parameter text: As `tcp:example.org:80`, of any length.
    /// - Returns: The endpoint, which has not opened anything yet.
    /// - Throws: ``EndpointError``, which says what is allowed.
    /// - Complexity: O(*n*) in the length of the text.
    public func client(
        parsing text: String
    ) throws(EndpointError) -> any StreamClientEndpoint {
        try clients.read(text, by: self)
    }

    /// A part or a value as it has to stand in a text, with a backslash before each colon, equals
    /// sign and backslash, and before a bracket that it begins with.
    ///
    /// - Parameter value: Anything.
    /// - Returns: What is read as `value`.
    public static func escaped(_ value: String) -> String {
        var bytes: [UInt8] = []
        for byte in value.utf8 {
            switch byte {
            case UInt8(ascii: ":"), UInt8(ascii: "="), UInt8(ascii: "\\"),
                UInt8(ascii: "[") where bytes.isEmpty:
                bytes.append(UInt8(ascii: "\\"))
            default:
                break
            }
            bytes.append(byte)
        }
        return String(decoding: bytes, as: UTF8.self)
    }
}

/// What reads the texts that begin with one word.
struct EndpointType<Endpoint>: Sendable {
    typealias Reader =
        @Sendable (inout EndpointArguments) throws(EndpointError) -> Endpoint

    let name: String
    /// How an endpoint of the type may be written.
    let example: String
    let read: Reader

    init(_ name: String, _ example: String, _ read: @escaping Reader) {
        require(
            !name.isEmpty && EndpointParser.escaped(name) == name,
            "EndpointParser: a type's name has no ':', '=' and '\\', and is not empty: '\(name)'")
        self.name = name
        self.example = example
        self.read = read
    }

    /// One of a program's own.
    fileprivate init(
        _ name: String, _ example: String,
        throwing read: @escaping @Sendable (inout EndpointArguments) throws -> Endpoint
    ) {
        self.init(name, example) { arguments throws(EndpointError) in
            do {
                return try read(&arguments)
            } catch let error as EndpointError {
                throw error
            } catch {
                throw .failed(type: name, reason: "\(error)")
            }
        }
    }
}

extension Array {
    fileprivate mutating func set<Endpoint>(_ type: EndpointType<Endpoint>)
    where Element == EndpointType<Endpoint> {
        if let index = firstIndex(where: { $0.name == type.name }) {
            self[index] = type
        } else {
            append(type)
        }
    }

    func read<Endpoint>(
        _ text: String, by parser: EndpointParser = .standard
    ) throws(EndpointError) -> Endpoint where Element == EndpointType<Endpoint> {
        var fields = try EndpointField.split(text)
        let first = fields.removeFirst()
        let word = first.name.map { "\($0)=\(first.value)" } ?? first.value
        guard let type = self.first(where: { $0.name == word }) else {
            throw .unknownType(word, allowed: map(\.name))
        }
        var arguments = try EndpointArguments(
            type: word, example: type.example, fields, parser: parser)
        let endpoint = try type.read(&arguments)
        try arguments.refuseRest()
        return endpoint
    }
}
