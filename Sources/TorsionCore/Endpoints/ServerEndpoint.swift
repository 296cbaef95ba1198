// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

/// Where a server listens: a value, which can be used on any reactor, and on many.
///
///     let endpoint = try ServerEndpoint(parsing: "tcp:8007:interface=127.0.0.1")
///     try endpoint.listen(on: reactor) { Echo() }
///
/// - SeeAlso: ``StreamServerEndpoint``, what it can do.
public struct ServerEndpoint: StreamServerEndpoint, Hashable {
    /// What kinds there are.
    private enum Place: Hashable, Sendable {
        case address(SocketAddress)
        case standardStreams
        case open(OpenSocket)
        case pair(OpenPair)
    }

    private let place: Place

    /// How the sockets are set up, and how their transports behave.
    public var options: StreamOptions

    private init(_ place: Place, _ options: StreamOptions) {
        self.place = place
        self.options = options
    }

    /// An address of any family.
    ///
    /// - Parameters:
    ///   - address: IPv4, IPv6 or UNIX; port 0 lets the kernel choose.
    ///   - options: How the port and its connections are set up.
    /// - Returns: An endpoint that can be used any number of times.
    public static func address(
        _ address: SocketAddress, options: StreamOptions = StreamOptions()
    ) -> ServerEndpoint {
        ServerEndpoint(.address(address), options)
    }

    /// A TCP port, on all IPv4 interfaces unless another address is named.
    ///
    /// - Parameters:
    ///   - port: 0 lets the kernel choose; see `ListeningPort.localAddress`.
    ///   - interface: The address of one interface.
    ///   - options: How the port and its connections are set up.
    /// - Returns: An endpoint that can be used any number of times.
    public static func tcp(
        port: UInt16, interface: IPv4Address = .any, options: StreamOptions = StreamOptions()
    ) -> ServerEndpoint {
        ServerEndpoint(.address(.ipv4(interface, port: port)), options)
    }

    /// A UNIX socket with a path.
    ///
    /// The file of a dead server is replaced, that of a live one is not.
    ///
    /// - Parameters:
    ///   - path: Up to ``UnixAddress/maximumByteCount`` bytes, without a zero byte.
    ///   - options: How the port and its connections are set up.
    /// - Returns: An endpoint that can be used any number of times.
    public static func unix(
        path: String, options: StreamOptions = StreamOptions()
    ) -> ServerEndpoint {
        ServerEndpoint(.address(.unix(.path(path))), options)
    }

    /// Standard input and output, which serve one connection: pipes, a terminal, regular files.
    public static let standardStreams = ServerEndpoint(.standardStreams, StreamOptions())

    /// A descriptor that is open already.
    ///
    /// A socket that listens accepts clients here; one that is connected, a pipe, a terminal or a file
    /// serves its peer, once. The descriptor stays yours: each use works with a duplicate of it, so
    /// that the reader of a pipe sees EOF when you have closed yours as well.
    ///
    /// - Parameters:
    ///   - descriptor: Stays yours.
    ///   - options: Those that can be set on what is open already.
    /// - Returns: An endpoint that can be used any number of times.
    public static func adopted(
        descriptor: Int32, options: StreamOptions = StreamOptions()
    ) -> ServerEndpoint {
        ServerEndpoint(.open(.descriptor(GivenDescriptor(descriptor))), options)
    }

    /// Two descriptors that are open already, which serve one connection: what arrives is read from
    /// one, what you write goes to the other.
    ///
    /// As ``ClientEndpoint/open(input:output:options:)``: they become the connection's, once.
    ///
    /// - Parameters:
    ///   - input: The descriptor to read from; nil for a stream that only writes.
    ///   - output: The descriptor to write to; nil for a stream that only reads.
    ///   - options: How the transport behaves.
    /// - Returns: The endpoint.
    /// - Precondition: At least one is there, and both are 0 or more.
    public static func open(
        input: Int32?, output: Int32?, options: StreamOptions = StreamOptions()
    ) -> ServerEndpoint {
        ServerEndpoint(.pair(OpenPair(input: input, output: output)), options)
    }

    /// The first socket of this name that systemd opened for the process: `FileDescriptorName=` in
    /// `systemd.socket(5)`, by default the name of the unit.
    ///
    /// - Parameters:
    ///   - name: Case counts.
    ///   - options: Those that can be set on what is open already.
    /// - Returns: An endpoint that fails to listen if systemd has not opened such a socket.
    public static func systemd(
        name: String, options: StreamOptions = StreamOptions()
    ) -> ServerEndpoint {
        ServerEndpoint(.open(.systemd(name)), options)
    }

    /// A socket that systemd opened for the process, by its place among them, counted from 0.
    ///
    /// - Parameters:
    ///   - index: From 0, in the order of the unit's file.
    ///   - options: Those that can be set on what is open already.
    /// - Returns: An endpoint that fails to listen if systemd has not opened such a socket.
    public static func systemd(
        index: Int, options: StreamOptions = StreamOptions()
    ) -> ServerEndpoint {
        require(index >= 0, "ServerEndpoint: need index >= 0, got \(index)")
        return ServerEndpoint(.open(.systemdPlace(index)), options)
    }

    /// The types of texts.
    static let types: [EndpointType<ServerEndpoint>] = [
        EndpointType("tcp", "tcp:8080:interface=127.0.0.1", tcp(reading:)),
        EndpointType("tcp6", "tcp6:8080", tcp6(reading:)),
        EndpointType("unix", "unix:/run/echo.socket", unix(reading:)),
        EndpointType("stdio", "stdio:") { _ in standardStreams },
        EndpointType("fd", "fd:3", descriptor(reading:)),
        EndpointType("pipe", "pipe:3:4") { arguments throws(EndpointError) in
            ServerEndpoint(.pair(try arguments.openPair()), StreamOptions())
        },
        EndpointType("systemd", "systemd:echo.socket", systemd(reading:)),
    ]

    /// Reads an endpoint from text.
    ///
    /// `tcp:PORT`, all IPv4 interfaces, with `interface=ADDRESS` one of them; an IPv6 address is
    /// written `[::1]`. `tcp6:PORT`, all IPv6 interfaces. `unix:PATH`, or `unix:@NAME` for an
    /// abstract name; with `mode=600`. `stdio:`. `fd:DESCRIPTOR`, a socket, a pipe or a terminal that
    /// is open already. `pipe:INPUT:OUTPUT`, two descriptors, of which one may be missing, as in
    /// `pipe:input=3`. `systemd:NAME`, or `systemd:index=N` counted from 0, a socket that systemd
    /// opened. Further options: `backlog=N`, `reuseport=yes`, `nodelay=no`, `keepalive=SECONDS` of
    /// silence before the first probe, or `keepalive=no`.
    ///
    /// The words in capitals can be written by name too: `tcp:port=8080`. A backslash takes the
    /// next character as it is. ``EndpointParser`` reads types of your own as well.
    ///
    /// - Parameter text: The endpoint's text.
    /// - Throws: ``EndpointError``, which says what is allowed.
    public init(parsing text: String) throws(EndpointError) {
        self = try Self.types.read(text)
    }

    /// Reads what `tcp:PORT` needs and may have, for a type of your own that stands on TCP.
    ///
    /// - Parameter arguments: The text behind the type; takes `port`, `interface`, `backlog`,
    ///   `reuseport`, `nodelay` and `keepalive`.
    /// - Returns: The endpoint.
    /// - Throws: ``EndpointError``, which says what is allowed.
    public static func tcp(
        reading arguments: inout EndpointArguments
    ) throws(EndpointError) -> ServerEndpoint {
        try network(&arguments, isIPv6: false)
    }

    private static func tcp6(
        reading arguments: inout EndpointArguments
    ) throws(EndpointError) -> ServerEndpoint {
        try network(&arguments, isIPv6: true)
    }

    private static func network(
        _ arguments: inout EndpointArguments, isIPv6: Bool
    ) throws(EndpointError) -> ServerEndpoint {
        var endpoint = ServerEndpoint.address(try arguments.address(isIPv6: isIPv6))
        try endpoint.options.readListening(&arguments)
        try endpoint.options.readSocket(&arguments)
        return endpoint
    }

    /// Reads what `unix:PATH` needs and may have, for a type of your own that stands on it.
    ///
    /// - Parameter arguments: The text behind the type; takes `path`, `mode` and `backlog`.
    /// - Returns: The endpoint.
    /// - Throws: ``EndpointError``, which says what is allowed.
    public static func unix(
        reading arguments: inout EndpointArguments
    ) throws(EndpointError) -> ServerEndpoint {
        var endpoint = ServerEndpoint.address(try arguments.unixAddress())
        endpoint.options.unixMode = try arguments.mode()
        try endpoint.options.readBacklog(&arguments)
        return endpoint
    }

    private static func descriptor(
        reading arguments: inout EndpointArguments
    ) throws(EndpointError) -> ServerEndpoint {
        let descriptor = try arguments.descriptor()
        var endpoint = ServerEndpoint(.open(.descriptor(descriptor)), StreamOptions())
        try endpoint.options.readSocket(&arguments)
        return endpoint
    }

    private static func systemd(
        reading arguments: inout EndpointArguments
    ) throws(EndpointError) -> ServerEndpoint {
        var endpoint = ServerEndpoint(.open(try arguments.systemdSocket()), StreamOptions())
        try endpoint.options.readSocket(&arguments)
        return endpoint
    }

    /// Listens, and makes a protocol for each client by a factory.
    ///
    /// - Parameters:
    ///   - reactor: Where the port and its connections belong; call this on its thread.
    ///   - factory: Makes the protocol of each connection, when its filters have agreed.
    ///   - layers: The filters and observers of each connection.
    /// - Returns: The open port.
    /// - Throws: ``IOError`` that names the address and the cause.
    @discardableResult
    public func listen(
        on reactor: Reactor, factory: any StreamProtocolFactory, layers: StreamLayers
    ) throws(IOError) -> ListeningPort {
        let service = PortService(
            factory: factory, layers: layers, options: options, on: reactor)
        switch place {
        case .address(let address):
            return try reactor.listen(on: address, service)
        case .standardStreams:
            return try reactor.serve(input: 0, output: 1, service)
        case .pair(let pair):
            let (input, output) = try reactor.usable(pair)
            return try reactor.serve(input: input, output: output, service)
        case .open(let socket):
            return try reactor.listen(adopting: try reactor.descriptor(of: socket), service)
        }
    }
}

extension ServerEndpoint {
    /// Listens with a socket that all reactors of the group accept from, and that goes by a name.
    ///
    /// Without a group as `listen` does.
    ///
    /// - Parameters:
    ///   - reactor: The reactor that the port belongs to.
    ///   - factory: Makes the protocol of each connection.
    ///   - layers: What stands between it and the sockets.
    ///   - name: As in `GroupPorts.withSocket(named:_:)`.
    ///   - take: Gives a socket that listens at this place already, whose descriptor the caller closes;
    ///     nil if there is none. Asked by the first reactor only.
    /// - Returns: The port, which accepts from now on.
    /// - Throws: ``IOError`` that names the address and the cause, or what `take` throws.
    package func listen(
        on reactor: Reactor, factory: any StreamProtocolFactory, layers: StreamLayers,
        named name: String, orTaking take: () throws(IOError) -> Int32?
    ) throws(IOError) -> ListeningPort {
        guard let group = reactor.group else {
            guard let descriptor = try take() else {
                return try listen(on: reactor, factory: factory, layers: layers)
            }
            return try ServerEndpoint.adopted(descriptor: descriptor, options: options)
                .listen(on: reactor, factory: factory, layers: layers)
        }
        let service = PortService(factory: factory, layers: layers, options: options, on: reactor)
        return try reactor.listen(sharing: name, in: group, service) {
            () throws(IOError) -> ListeningPort in
            if let descriptor = try take() {
                return try ListeningPort.adopting(descriptor, on: reactor, service)
            }
            switch place {
            case .address(let address):
                return try ListeningPort(reactor: reactor, address: address, service)
            case .standardStreams, .pair:
                // One connection cannot be shared.
                throw IOError(
                    .listen, function: "", code: .notSupported, subject: "\(self) in a group")
            case .open(let socket):
                return try ListeningPort.adopting(
                    try reactor.descriptor(of: socket), on: reactor, service)
            }
        }
    }
}

extension ServerEndpoint: CustomStringConvertible {
    /// The endpoint's text: ``init(parsing:)`` makes an equal endpoint of it.
    ///
    /// It says whatever a text can say. Options without a word are left out; and addresses that
    /// cannot be listened at, and abstract names that are not UTF-8, lack a text that
    /// ``init(parsing:)`` accepts.
    public var description: String {
        var text: EndpointText
        switch place {
        case .address(.unix(let path)):
            text = EndpointText("unix", path.described)
            text.add(mode: options.unixMode)
            text.addBacklog(options)
        case .address(let address):
            text = EndpointText(port: address, type: "tcp")
            text.addListening(options)
            text.addSocket(options)
        case .standardStreams:
            return "stdio:"
        case .pair(let pair):
            return EndpointText(pair).text
        case .open(let socket):
            text = EndpointText(socket)
            text.addSocket(options)
        }
        return text.text
    }
}
