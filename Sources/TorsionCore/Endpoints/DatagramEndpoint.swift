// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

/// Where datagrams are received: a value, which can be used on any reactor, and on many.
///
///     let endpoint = try DatagramEndpoint(parsing: "udp:9000:interface=127.0.0.1")
///     try endpoint.listen(on: reactor) { Echo() }
///
/// A client listens too, on a port that the kernel chooses: `udp:0`.
///
/// - SeeAlso: Twisted `IReactorUDP.listenUDP`.
public struct DatagramEndpoint: Hashable, Sendable {
    /// What kinds there are.
    private enum Place: Hashable, Sendable {
        case address(SocketAddress)
        case open(OpenSocket)
    }

    private let place: Place

    /// How the socket is set up; one that is open already, where that can still be changed.
    public var options: DatagramOptions

    private init(_ place: Place, _ options: DatagramOptions) {
        self.place = place
        self.options = options
    }

    /// Where the socket will be bound; nil for one that is open already.
    public var address: SocketAddress? {
        if case .address(let address) = place { address } else { nil }
    }

    /// An address of any family.
    ///
    /// - Parameters:
    ///   - address: IPv4, IPv6 or UNIX; port 0 lets the kernel choose.
    ///   - options: How the socket is set up, and its peer if it has one.
    /// - Returns: An endpoint that can be used any number of times.
    public static func address(
        _ address: SocketAddress, options: DatagramOptions = DatagramOptions()
    ) -> DatagramEndpoint {
        DatagramEndpoint(.address(address), options)
    }

    /// A UDP port, on all IPv4 interfaces unless another address is named.
    ///
    /// - Parameters:
    ///   - port: 0 lets the kernel choose; see `DatagramPort.localAddress`.
    ///   - interface: The address of one interface.
    ///   - options: How the socket is set up, and its peer if it has one.
    /// - Returns: An endpoint that can be used any number of times.
    public static func udp(
        port: UInt16, interface: IPv4Address = .any, options: DatagramOptions = DatagramOptions()
    ) -> DatagramEndpoint {
        DatagramEndpoint(.address(.ipv4(interface, port: port)), options)
    }

    /// A UNIX socket with a path.
    ///
    /// The file of a dead process is replaced, that of a live one is not.
    ///
    /// - Parameters:
    ///   - path: Up to ``UnixAddress/maximumByteCount`` bytes, without a zero byte.
    ///   - options: How the socket is set up, and its peer if it has one.
    /// - Returns: An endpoint that can be used any number of times.
    public static func unix(
        path: String, options: DatagramOptions = DatagramOptions()
    ) -> DatagramEndpoint {
        DatagramEndpoint(.address(.unix(.path(path))), options)
    }

    /// A socket for datagrams that is open already, bound or not, connected or not.
    ///
    /// The descriptor stays yours: each use works with a duplicate of it, and what arrives goes to
    /// whichever reads first.
    ///
    /// - Parameters:
    ///   - descriptor: Stays yours.
    ///   - options: Those that can be set on what is open already.
    /// - Returns: An endpoint that can be used any number of times.
    public static func adopted(
        descriptor: Int32, options: DatagramOptions = DatagramOptions()
    ) -> DatagramEndpoint {
        DatagramEndpoint(.open(.descriptor(GivenDescriptor(descriptor))), options)
    }

    /// The first socket of this name that systemd opened for the process, by `ListenDatagram=`:
    /// `FileDescriptorName=` in `systemd.socket(5)`, by default the name of the unit.
    ///
    /// - Parameters:
    ///   - name: Case counts.
    ///   - options: Those that can be set on what is open already.
    /// - Returns: An endpoint that fails to listen if systemd has not opened such a socket.
    public static func systemd(
        name: String, options: DatagramOptions = DatagramOptions()
    ) -> DatagramEndpoint {
        DatagramEndpoint(.open(.systemd(name)), options)
    }

    /// A socket that systemd opened for the process, by its place among them, counted from 0.
    ///
    /// - Parameters:
    ///   - index: From 0, in the order of the unit's file.
    ///   - options: Those that can be set on what is open already.
    /// - Returns: An endpoint that fails to listen if systemd has not opened such a socket.
    public static func systemd(
        index: Int, options: DatagramOptions = DatagramOptions()
    ) -> DatagramEndpoint {
        require(index >= 0, "DatagramEndpoint: need index >= 0, got \(index)")
        return DatagramEndpoint(.open(.systemdPlace(index)), options)
    }

    /// The types of texts.
    private static let types: [EndpointType<DatagramEndpoint>] = [
        EndpointType("udp", "udp:9000:interface=127.0.0.1") { arguments throws(EndpointError) in
            try network(&arguments, isIPv6: false)
        },
        EndpointType("udp6", "udp6:9000") { arguments throws(EndpointError) in
            try network(&arguments, isIPv6: true)
        },
        EndpointType("unix-datagram", "unix-datagram:/run/log.socket", unix(reading:)),
        EndpointType("fd", "fd:3") { arguments throws(EndpointError) in
            try opened(.descriptor(try arguments.descriptor()), &arguments)
        },
        EndpointType("systemd", "systemd:log.socket") { arguments throws(EndpointError) in
            try opened(try arguments.systemdSocket(), &arguments)
        },
    ]

    /// Reads an endpoint from text.
    ///
    /// `udp:PORT`, all IPv4 interfaces, with `interface=ADDRESS` one of them; an IPv6 address is
    /// written `[::1]`. `udp6:PORT`, all IPv6 interfaces. `unix-datagram:PATH`, or
    /// `unix-datagram:@NAME` for an abstract name; with `mode=600`. `fd:DESCRIPTOR`, a socket that is
    /// open already. `systemd:NAME`, or `systemd:index=N` counted from 0, one that systemd opened.
    /// Further options of UDP: `peer=ADDRESS\:PORT` connects the port, `broadcast=yes`, and unless it
    /// is open already `reuseport=yes`, `reuseaddress=yes`, and `shared=no` for a port that the reactors of
    /// a group do not share.
    ///
    /// The words in capitals can be written by name too: `udp:port=9000`. A backslash takes the
    /// next character as it is.
    ///
    /// - Parameter text: The endpoint's text.
    /// - Throws: ``EndpointError``, which says what is allowed.
    public init(parsing text: String) throws(EndpointError) {
        self = try Self.types.read(text)
    }

    private static func network(
        _ arguments: inout EndpointArguments, isIPv6: Bool
    ) throws(EndpointError) -> DatagramEndpoint {
        var endpoint = DatagramEndpoint.address(try arguments.address(isIPv6: isIPv6))
        try endpoint.readPeer(&arguments)
        if let flag = try arguments.flag("reuseport") { endpoint.options.reusePort = flag }
        if let flag = try arguments.flag("reuseaddress") { endpoint.options.reuseAddress = flag }
        if let flag = try arguments.flag("shared") { endpoint.options.isSharedInGroup = flag }
        return endpoint
    }

    private static func unix(
        reading arguments: inout EndpointArguments
    ) throws(EndpointError) -> DatagramEndpoint {
        var endpoint = DatagramEndpoint.address(try arguments.unixAddress())
        endpoint.options.unixMode = try arguments.mode()
        return endpoint
    }

    private static func opened(
        _ socket: OpenSocket, _ arguments: inout EndpointArguments
    ) throws(EndpointError) -> DatagramEndpoint {
        var endpoint = DatagramEndpoint(.open(socket), DatagramOptions())
        try endpoint.readPeer(&arguments)
        return endpoint
    }

    private mutating func readPeer(
        _ arguments: inout EndpointArguments
    ) throws(EndpointError) {
        if let text = arguments.option("peer") {
            guard let peer = SocketAddress(text), peer.port != nil else {
                throw .invalid(
                    "peer", value: text, allowed: #"an address and a port, as in 127.0.0.1\:53"#)
            }
            options.peerAddress = peer
        }
        if let flag = try arguments.flag("broadcast") { options.allowsBroadcast = flag }
    }

    /// Opens the port, with the protocol that the closure makes.
    ///
    /// - Parameters:
    ///   - reactor: Where the port belongs; call this on its thread.
    ///   - makeProtocol: Called once, at once.
    /// - Returns: The open port.
    /// - Throws: ``IOError`` that names the place and the cause, or what the closure throws.
    @discardableResult
    public func listen(
        on reactor: Reactor, _ makeProtocol: () throws -> any DatagramProtocol
    ) throws -> DatagramPort {
        switch place {
        case .address(let address):
            try reactor.listenForDatagrams(on: address, options: options, makeProtocol())
        case .open(let socket):
            try reactor.listenForDatagrams(
                adopting: try reactor.descriptor(of: socket), options: options, makeProtocol())
        }
    }
}

extension DatagramEndpoint: CustomStringConvertible {
    /// The endpoint's text: ``init(parsing:)`` makes an equal endpoint of it.
    ///
    /// It says whatever a text can say. Options without a word are left out; and abstract names
    /// that are not UTF-8 lack a text that ``init(parsing:)`` accepts.
    public var description: String {
        var text: EndpointText
        switch place {
        case .address(.unix(let path)):
            text = EndpointText("unix-datagram", path.described)
            text.add(mode: options.unixMode)
            return text.text
        case .address(let address):
            text = EndpointText(port: address, type: "udp")
        case .open(let socket):
            text = EndpointText(socket)
        }
        text.add(
            "peer",
            options.peerAddress.map { peer in EndpointParser.escaped(peer.description) })
        if options.allowsBroadcast { text.add("broadcast", "yes") }
        guard case .address = place else { return text.text }
        if options.reusePort { text.add("reuseport", "yes") }
        if options.reuseAddress { text.add("reuseaddress", "yes") }
        if !options.isSharedInGroup { text.add("shared", "no") }
        return text.text
    }
}
