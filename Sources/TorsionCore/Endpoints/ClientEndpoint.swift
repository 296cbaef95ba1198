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
        case descriptor(GivenDescriptor)
        case pair(OpenPair)
    }

    let place: Place

    /// How the socket is set up, and how its transport behaves.
    public var options: StreamOptions

    private init(_ place: Place, _ options: StreamOptions) {
        self.place = place
        self.options = options
    }

    /// An address of any family.
    ///
    /// - Parameters:
    ///   - address: IPv4, IPv6 or UNIX.
    ///   - options: How the socket and the connection are set up.
    /// - Returns: An endpoint that can be used any number of times.
    public static func address(
        _ address: SocketAddress, options: StreamOptions = StreamOptions()
    ) -> ClientEndpoint {
        ClientEndpoint(.address(address), options)
    }

    /// A host, by name or by number, and a TCP port.
    ///
    /// A name is resolved at each connect, and its addresses are tried as RFC 8305 says.
    ///
    /// - Parameters:
    ///   - host: A name, or an address as text.
    ///   - port: From 1 to 65,535.
    ///   - options: How the socket and the connection are set up.
    /// - Returns: An endpoint that can be used any number of times.
    public static func tcp(
        host: String, port: UInt16, options: StreamOptions = StreamOptions()
    ) -> ClientEndpoint {
        if let address = SocketAddress(host: host, port: port) {
            return ClientEndpoint(.address(address), options)
        }
        return ClientEndpoint(.host(host, port: port), options)
    }

    /// A UNIX socket with a path.
    ///
    /// - Parameters:
    ///   - path: Up to ``UnixAddress/maximumByteCount`` bytes, without a zero byte.
    ///   - options: How the socket and the connection are set up.
    /// - Returns: An endpoint that can be used any number of times.
    public static func unix(
        path: String, options: StreamOptions = StreamOptions()
    ) -> ClientEndpoint {
        ClientEndpoint(.address(.unix(.path(path))), options)
    }

    /// A descriptor that is open already: a socket that is connected, a pipe, a terminal, a file.
    ///
    /// The descriptor stays yours: each use works with a duplicate, made at once. The end of a
    /// connection is that of the socket, also for other processes that have it. That of a pipe is
    /// not: its reader sees EOF when you have closed yours as well. Of a pipe only one direction is
    /// there; one that cannot be written to breaks the connection at the first write.
    ///
    /// - Parameters:
    ///   - descriptor: Stays yours.
    ///   - options: Those that can be set on what is open already.
    /// - Returns: An endpoint that can be used any number of times.
    public static func adopted(
        descriptor: Int32, options: StreamOptions = StreamOptions()
    ) -> ClientEndpoint {
        ClientEndpoint(.descriptor(GivenDescriptor(descriptor)), options)
    }

    /// Two descriptors that are open already: what arrives is read from one, what you write goes to
    /// the other.
    ///
    /// Pipes, terminals, sockets or regular files, and both may be the same. They become the connection's, which closes them, so that the endpoint can be used once. Without
    /// an input, EOF is that the reader of the output has gone; without an output each write fails.
    ///
    /// - Parameters:
    ///   - input: The descriptor to read from; nil for a stream that only writes.
    ///   - output: The descriptor to write to; nil for a stream that only reads.
    ///   - options: How the transport behaves.
    /// - Returns: The endpoint.
    /// - Precondition: At least one is there, and both are 0 or more.
    public static func open(
        input: Int32?, output: Int32?, options: StreamOptions = StreamOptions()
    ) -> ClientEndpoint {
        ClientEndpoint(.pair(OpenPair(input: input, output: output)), options)
    }

    /// The types of texts.
    static let types: [EndpointType<ClientEndpoint>] = [
        EndpointType("tcp", "tcp:example.org:80", tcp(reading:)),
        EndpointType("unix", "unix:/run/echo.socket", unix(reading:)),
        EndpointType("fd", "fd:3", descriptor(reading:)),
        EndpointType("pipe", "pipe:3:4") { arguments throws(EndpointError) in
            ClientEndpoint(.pair(try arguments.openPair()), StreamOptions())
        },
    ]

    /// Reads an endpoint from text.
    ///
    /// `tcp:HOST:PORT`, where an IPv6 address is written `[::1]`; `unix:PATH`, or `unix:@NAME` for
    /// an abstract name; `fd:DESCRIPTOR`, a socket that is connected, a pipe or a terminal;
    /// `pipe:INPUT:OUTPUT`, two descriptors, of which one may be missing, as in `pipe:input=3`.
    /// Options: `timeout=SECONDS` for each attempt to connect, `bindAddress=ADDRESS`, `nodelay=no`,
    /// `keepalive=SECONDS` of silence before the first probe, or `keepalive=no`.
    ///
    /// The words in capitals can be written by name too: `tcp:host=example.org:port=80`. A
    /// backslash takes the next character as it is. ``EndpointParser`` reads types of your own as
    /// well.
    ///
    /// - Parameter text: The endpoint's text.
    /// - Throws: ``EndpointError``, which says what is allowed.
    public init(parsing text: String) throws(EndpointError) {
        self = try Self.types.read(text)
    }

    /// Reads what `tcp:HOST:PORT` needs and may have, for a type of your own that stands on TCP.
    ///
    /// - Parameter arguments: The text behind the type; takes `host`, `port`, `timeout`,
    ///   `bindAddress`, `nodelay` and `keepalive`.
    /// - Returns: The endpoint.
    /// - Throws: ``EndpointError``, which says what is allowed.
    public static func tcp(
        reading arguments: inout EndpointArguments
    ) throws(EndpointError) -> ClientEndpoint {
        let host = try arguments.argument("host")
        let port = UInt16(try arguments.argument("port", in: 1...65_535))
        var endpoint: ClientEndpoint
        if let address = SocketAddress(described: host, port: port) {
            endpoint = .address(address)
        } else if host.utf8.first != UInt8(ascii: "[") {
            endpoint = ClientEndpoint(.host(host, port: port), StreamOptions())
        } else {
            // Brackets are for addresses: what they hold is never asked of a name server.
            throw .invalid(
                "host", value: host, allowed: "a name, \(SocketAddress.describedForms)")
        }
        try endpoint.options.readConnecting(&arguments)
        try endpoint.options.readSocket(&arguments)
        return endpoint
    }

    /// Reads what `unix:PATH` needs and may have, for a type of your own that stands on it.
    ///
    /// - Parameter arguments: The text behind the type; takes `path` and `timeout`.
    /// - Returns: The endpoint.
    /// - Throws: ``EndpointError``, which says what is allowed.
    public static func unix(
        reading arguments: inout EndpointArguments
    ) throws(EndpointError) -> ClientEndpoint {
        var endpoint = ClientEndpoint.address(try arguments.unixAddress())
        try endpoint.options.readTimeout(&arguments)
        return endpoint
    }

    private static func descriptor(
        reading arguments: inout EndpointArguments
    ) throws(EndpointError) -> ClientEndpoint {
        let descriptor = try arguments.descriptor()
        var endpoint = ClientEndpoint(.descriptor(descriptor), StreamOptions())
        try endpoint.options.readSocket(&arguments)
        return endpoint
    }

    /// Resolves the name, if it is one, and connects to the first address that answers: RFC 8305.
    ///
    /// - Parameter reactor: Where the stream belongs; call this on its thread.
    /// - Returns: A Deferred for the stream, which gives up when it is cancelled. It fails with an
    ///   ``IOError`` that names what was tried.
    public func openStream(on reactor: Reactor) -> Deferred<ByteStream> {
        StreamOpener(to: self, on: reactor).start()
    }
}

extension ClientEndpoint: CustomStringConvertible {
    /// The host's name, or its address without a port and brackets; nil for a UNIX socket or what is
    /// open already.
    public var host: String? {
        switch place {
        case .address(let address): address.host
        case .host(let host, _): host
        case .descriptor, .pair: nil
        }
    }

    /// The address, or the host and the port, as in "example.org:80": what errors call the endpoint.
    public var name: String {
        switch place {
        case .address(let address): address.description
        case .host(let host, let port): "\(host):\(port)"
        case .descriptor(let descriptor): "\(descriptor)"
        case .pair(let pair): "\(pair)"
        }
    }

    /// The endpoint's text: ``init(parsing:)`` makes an equal endpoint of it.
    ///
    /// It says whatever a text can say. Options without a word are left out; and addresses that
    /// cannot be connected to, and abstract names that are not UTF-8, lack a text that
    /// ``init(parsing:)`` accepts.
    public var description: String {
        var text: EndpointText
        switch place {
        case .address(.unix(let path)):
            text = EndpointText("unix", path.described)
            text.addTimeout(options)
            return text.text
        case .address(let address):
            text = EndpointText("tcp", address.description)
            text.addConnecting(options)
        case .host(let host, let port):
            text = EndpointText("tcp", EndpointParser.escaped(host), "\(port)")
            text.addConnecting(options)
        case .descriptor(let descriptor):
            text = EndpointText("fd", "\(descriptor.number)")
        case .pair(let pair):
            return EndpointText(pair).text
        }
        text.addSocket(options)
        return text.text
    }
}
