// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

/// Where a client connects to: a value, which can be used on any reactor, and often.
///
///     try ClientEndpoint(parsing: "tcp:example.org:80")
///         .connect(on: reactor) { Greeter() }
///         .addTimeout(.seconds(5))
///         .addCallback { greeter in greeter.greet("world") }
///
/// - SeeAlso: ``StreamClientEndpoint``, what it can do.
public struct ClientEndpoint: StreamClientEndpoint, Hashable {
    enum Place: Hashable, Sendable {
        case address(SocketAddress)
        case host(String, port: UInt16)
        case descriptor(Int32)
    }

    let place: Place

    /// How the socket is set up, and how its transport behaves.
    public var options: StreamOptions

    private init(_ place: Place, _ options: StreamOptions) {
        self.place = place
        self.options = options
    }

    /// An address of any family.
    public static func address(
        _ address: SocketAddress, options: StreamOptions = StreamOptions()
    ) -> ClientEndpoint {
        ClientEndpoint(.address(address), options)
    }

    /// A host, by name or by number, and a TCP port.
    ///
    /// A name is resolved at each connect, and its addresses are tried as RFC 8305 says.
    public static func tcp(
        host: String, port: UInt16, options: StreamOptions = StreamOptions()
    ) -> ClientEndpoint {
        if let address = SocketAddress(host: host, port: port) {
            return ClientEndpoint(.address(address), options)
        }
        return ClientEndpoint(.host(host, port: port), options)
    }

    /// A UNIX socket with a path.
    public static func unix(
        path: String, options: StreamOptions = StreamOptions()
    ) -> ClientEndpoint {
        ClientEndpoint(.address(.unix(.path(path))), options)
    }

    /// A socket that is connected already.
    ///
    /// The descriptor stays yours: each use works with a duplicate, made at once. The end of a
    /// connection is that of the socket, for whoever else has it too.
    public static func adopted(
        descriptor: Int32, options: StreamOptions = StreamOptions()
    ) -> ClientEndpoint {
        ClientEndpoint(.descriptor(descriptor), options)
    }

    private static let types: KeyValuePairs = [
        "tcp": "tcp:example.org:80", "unix": "unix:/run/echo.socket", "fd": "fd:3",
    ]

    /// Reads an endpoint from text.
    ///
    /// `tcp:HOST:PORT`, where an IPv6 address is written `[::1]`; `unix:PATH`, or `unix:@NAME` for
    /// an abstract name; `fd:NUMBER`, a socket that is connected. Options: `timeout=SECONDS` for each attempt to connect,
    /// `bindAddress=ADDRESS`, `nodelay=no`, `keepalive=SECONDS` of silence before the first probe, or
    /// `keepalive=no`. A backslash takes the next character as it is.
    ///
    /// - Throws: ``EndpointError``, which says what is allowed.
    public init(parsing text: String) throws(EndpointError) {
        let description = try EndpointDescription(parsing: text, types: Self.types)
        options = StreamOptions()
        switch description.type {
        case "tcp":
            place = try Self.tcpPlace(description)
            try description.refuseParts(after: 2)
            try description.refuseOptions(
                besides: ["timeout", "bindAddress"] + StreamOptions.describedOptions)
        case "fd":
            place = .descriptor(try description.descriptor(0))
            try description.refuseParts(after: 1)
            try description.refuseOptions(besides: StreamOptions.describedOptions)
        default:
            let path = try description.part(0, "path")
            place = .address(.unix(try UnixAddress(described: path)))
            try description.refuseParts(after: 1)
            try description.refuseOptions(besides: ["timeout"])
        }
        try options.apply(description)
        if let timeout = try description.seconds("timeout", atMost: 86_400) {
            options.connectTimeout = timeout
        }
        if let own = description.options["bindAddress"] {
            guard let address = SocketAddress(described: own, port: 0) else {
                throw .invalid("bindAddress", value: own, allowed: SocketAddress.describedForms)
            }
            options.bindAddress = address
        }
    }

    private static func tcpPlace(_ description: EndpointDescription) throws(EndpointError) -> Place
    {
        let host = try description.part(0, "host")
        let port = try description.port(1, from: 1)
        if let address = SocketAddress(described: host, port: port) { return .address(address) }
        // Brackets are for addresses: what they hold is never asked of a name server.
        guard host.first != "[" else {
            throw .invalid("host", value: host, allowed: "a name, \(SocketAddress.describedForms)")
        }
        return .host(host, port: port)
    }

    /// Resolves the name, if it is one, and connects to the first address that answers: RFC 8305.
    public func openStream(on reactor: Reactor) -> Deferred<ByteStream> {
        StreamOpener(to: self, on: reactor).start()
    }
}

extension ClientEndpoint: CustomStringConvertible {
    /// The address or the host, as in "example.org:80".
    public var description: String {
        switch place {
        case .address(let address): address.description
        case .host(let host, let port): "\(host):\(port)"
        case .descriptor(let descriptor): "descriptor \(descriptor)"
        }
    }
}
