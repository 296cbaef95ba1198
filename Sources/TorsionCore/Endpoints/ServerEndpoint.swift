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
    }

    private let place: Place

    /// How the sockets are set up, and how their transports behave.
    public var options: StreamOptions

    private init(_ place: Place, _ options: StreamOptions) {
        self.place = place
        self.options = options
    }

    /// An address of any family.
    public static func address(
        _ address: SocketAddress, options: StreamOptions = StreamOptions()
    ) -> ServerEndpoint {
        ServerEndpoint(.address(address), options)
    }

    /// A TCP port, on all IPv4 interfaces unless another address is named.
    ///
    /// `port`: 0 lets the kernel choose; `ListeningPort.localAddress` tells.
    public static func tcp(
        port: UInt16, interface: IPv4Address = .any, options: StreamOptions = StreamOptions()
    ) -> ServerEndpoint {
        ServerEndpoint(.address(.ipv4(interface, port: port)), options)
    }

    /// A UNIX socket with a path.
    ///
    /// The file of a dead server is replaced, that of a live one is not.
    public static func unix(
        path: String, options: StreamOptions = StreamOptions()
    ) -> ServerEndpoint {
        ServerEndpoint(.address(.unix(.path(path))), options)
    }

    /// Standard input and output, which serve one connection: pipes, a terminal, regular files.
    public static let standardStreams = ServerEndpoint(.standardStreams, StreamOptions())

    /// A socket that is open already.
    ///
    /// One that listens accepts clients here; one that is connected serves its peer, once. The
    /// descriptor stays yours: each use works with a duplicate of it.
    public static func adopted(
        descriptor: Int32, options: StreamOptions = StreamOptions()
    ) -> ServerEndpoint {
        ServerEndpoint(.open(.descriptor(descriptor)), options)
    }

    /// The first socket of this name that systemd opened for the process: `FileDescriptorName=` in
    /// `systemd.socket(5)`, by default the name of the unit.
    public static func systemd(
        name: String, options: StreamOptions = StreamOptions()
    ) -> ServerEndpoint {
        ServerEndpoint(.open(.systemd(name)), options)
    }

    /// A socket that systemd opened for the process, by its place among them, counted from 0.
    public static func systemd(
        index: Int, options: StreamOptions = StreamOptions()
    ) -> ServerEndpoint {
        require(index >= 0, "ServerEndpoint: need index >= 0, got \(index)")
        return ServerEndpoint(.open(.systemdPlace(index)), options)
    }

    private static let types: KeyValuePairs = [
        "tcp": "tcp:8080:interface=127.0.0.1", "tcp6": "tcp6:8080",
        "unix": "unix:/run/echo.socket", "stdio": "stdio:",
        "fd": "fd:3", "systemd": "systemd:echo.socket",
    ]

    /// Reads an endpoint from text.
    ///
    /// `tcp:PORT`, all IPv4 interfaces, with `interface=ADDRESS` one of them; an IPv6 address is
    /// written `[::1]`. `tcp6:PORT`, all IPv6 interfaces. `unix:PATH`, or `unix:@NAME` for an
    /// abstract name; with `mode=600`. `stdio:`. `fd:NUMBER`, a socket that is open already.
    /// `systemd:NAME`, or `systemd:index=N` counted from 0, one that systemd opened. Further options: `backlog=N`, `reuseport=yes`,
    /// `nodelay=no`, `keepalive=SECONDS` of silence before the first probe, or `keepalive=no`. A
    /// backslash takes the next character as it is.
    ///
    /// - Throws: ``EndpointError``, which says what is allowed.
    public init(parsing text: String) throws(EndpointError) {
        let description = try EndpointDescription(parsing: text, types: Self.types)
        options = StreamOptions()
        switch description.type {
        case "tcp", "tcp6":
            place = .address(try description.address(isIPv6: description.type == "tcp6"))
            try description.refuseParts(after: 1)
            try description.refuseOptions(
                besides: ["interface", "backlog", "reuseport"] + StreamOptions.describedOptions)
        case "unix":
            let path = try description.part(0, "path")
            place = .address(.unix(try UnixAddress(described: path)))
            try description.refuseParts(after: 1)
            try description.refuseOptions(besides: ["mode", "backlog"])
        case "fd":
            place = .open(try description.adoptedSocket())
            try description.refuseOptions(besides: StreamOptions.describedOptions)
        case "systemd":
            place = .open(try description.systemdSocket())
            try description.refuseOptions(besides: ["index"] + StreamOptions.describedOptions)
        default:
            place = .standardStreams
            if description.parts != [""] { try description.refuseParts(after: 0) }
            try description.refuseOptions(besides: [])
        }
        try readOptions(description)
    }

    private mutating func readOptions(
        _ description: EndpointDescription
    ) throws(EndpointError) {
        try options.apply(description)
        if let text = description.options["backlog"] {
            options.backlog = Int(try description.number(text, "backlog", in: 1...65_535))
        }
        if let flag = try description.flag("reuseport") { options.reusePort = flag }
        options.unixMode = try description.mode()
    }

    /// Listens, and makes a protocol for each client by a factory.
    ///
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
        case .open(let socket):
            return try reactor.listen(adopting: try reactor.descriptor(of: socket), service)
        }
    }
}

extension ServerEndpoint: CustomStringConvertible {
    /// The address, as in "127.0.0.1:8007".
    public var description: String {
        switch place {
        case .address(let address): address.description
        case .standardStreams: "standard input and output"
        case .open(let socket): socket.description
        }
    }
}
