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
    public static func address(
        _ address: SocketAddress, options: DatagramOptions = DatagramOptions()
    ) -> DatagramEndpoint {
        DatagramEndpoint(.address(address), options)
    }

    /// A UDP port, on all IPv4 interfaces unless another address is named.
    ///
    /// `port`: 0 lets the kernel choose; `DatagramPort.localAddress` tells.
    public static func udp(
        port: UInt16, interface: IPv4Address = .any, options: DatagramOptions = DatagramOptions()
    ) -> DatagramEndpoint {
        DatagramEndpoint(.address(.ipv4(interface, port: port)), options)
    }

    /// A UNIX socket with a path.
    ///
    /// The file of a dead process is replaced, that of a live one is not.
    public static func unix(
        path: String, options: DatagramOptions = DatagramOptions()
    ) -> DatagramEndpoint {
        DatagramEndpoint(.address(.unix(.path(path))), options)
    }

    /// A socket for datagrams that is open already, bound or not, connected or not.
    ///
    /// The descriptor stays yours: each use works with a duplicate of it, and what arrives goes to
    /// whichever reads first.
    public static func adopted(
        descriptor: Int32, options: DatagramOptions = DatagramOptions()
    ) -> DatagramEndpoint {
        DatagramEndpoint(.open(.descriptor(descriptor)), options)
    }

    /// The first socket of this name that systemd opened for the process, by `ListenDatagram=`:
    /// `FileDescriptorName=` in `systemd.socket(5)`, by default the name of the unit.
    public static func systemd(
        name: String, options: DatagramOptions = DatagramOptions()
    ) -> DatagramEndpoint {
        DatagramEndpoint(.open(.systemd(name)), options)
    }

    /// A socket that systemd opened for the process, by its place among them, counted from 0.
    public static func systemd(
        index: Int, options: DatagramOptions = DatagramOptions()
    ) -> DatagramEndpoint {
        require(index >= 0, "DatagramEndpoint: need index >= 0, got \(index)")
        return DatagramEndpoint(.open(.systemdPlace(index)), options)
    }

    private static let types: KeyValuePairs = [
        "udp": "udp:9000:interface=127.0.0.1", "udp6": "udp6:9000",
        "unix-datagram": "unix-datagram:/run/log.socket",
        "fd": "fd:3", "systemd": "systemd:log.socket",
    ]

    /// Reads an endpoint from text.
    ///
    /// `udp:PORT`, all IPv4 interfaces, with `interface=ADDRESS` one of them; an IPv6 address is
    /// written `[::1]`. `udp6:PORT`, all IPv6 interfaces. `unix-datagram:PATH`, or
    /// `unix-datagram:@NAME` for an abstract name; with `mode=600`. `fd:NUMBER`, a socket that is
    /// open already. `systemd:NAME`, or `systemd:index=N` counted from 0, one that systemd opened.
    /// Further options of UDP: `peer=ADDRESS\:PORT` connects the port, `broadcast=yes`, and unless it
    /// is open already `reuseport=yes`, `reuseaddress=yes`. A backslash takes the next character as
    /// it is.
    ///
    /// - Throws: ``EndpointError``, which says what is allowed.
    public init(parsing text: String) throws(EndpointError) {
        let description = try EndpointDescription(parsing: text, types: Self.types)
        options = DatagramOptions()
        switch description.type {
        case "udp", "udp6":
            place = .address(try description.address(isIPv6: description.type == "udp6"))
            try description.refuseOptions(
                besides: ["interface", "peer", "broadcast", "reuseport", "reuseaddress"])
        case "fd":
            place = .open(try description.adoptedSocket())
            try description.refuseOptions(besides: ["peer", "broadcast"])
        case "systemd":
            place = .open(try description.systemdSocket())
            try description.refuseOptions(besides: ["index", "peer", "broadcast"])
        default:
            let path = try description.part(0, "path")
            place = .address(.unix(try UnixAddress(described: path)))
            try description.refuseOptions(besides: ["mode"])
        }
        try description.refuseParts(after: 1)
        try readOptions(description)
    }

    private mutating func readOptions(_ description: EndpointDescription) throws(EndpointError) {
        if let text = description.options["peer"] {
            guard let peer = SocketAddress(text), peer.port != nil else {
                throw .invalid(
                    "peer", value: text, allowed: #"an address and a port, as in 127.0.0.1\:53"#)
            }
            options.peerAddress = peer
        }
        if let flag = try description.flag("broadcast") { options.allowsBroadcast = flag }
        if let flag = try description.flag("reuseport") { options.reusePort = flag }
        if let flag = try description.flag("reuseaddress") { options.reuseAddress = flag }
        options.unixMode = try description.mode()
    }

    /// Opens the port, with the protocol that the closure makes.
    ///
    /// `makeProtocol`: Called once, at once.
    /// Throws ``IOError`` that names the place and the cause, or what the closure throws.
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
    /// The address, as in "127.0.0.1:9000".
    public var description: String {
        switch place {
        case .address(let address): address.description
        case .open(let socket): socket.description
        }
    }
}
