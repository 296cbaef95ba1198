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
    /// Where the socket is bound.
    public let address: SocketAddress

    /// How the socket is set up.
    public var options: DatagramOptions

    private init(_ address: SocketAddress, _ options: DatagramOptions) {
        self.address = address
        self.options = options
    }

    /// An address of any family.
    public static func address(
        _ address: SocketAddress, options: DatagramOptions = DatagramOptions()
    ) -> DatagramEndpoint {
        DatagramEndpoint(address, options)
    }

    /// A UDP port, on all IPv4 interfaces unless another address is named.
    ///
    /// `port`: 0 lets the kernel choose; `DatagramPort.localAddress` tells.
    public static func udp(
        port: UInt16, interface: IPv4Address = .any, options: DatagramOptions = DatagramOptions()
    ) -> DatagramEndpoint {
        DatagramEndpoint(.ipv4(interface, port: port), options)
    }

    /// A UNIX socket with a path.
    ///
    /// The file of a dead process is replaced, that of a live one is not.
    public static func unix(
        path: String, options: DatagramOptions = DatagramOptions()
    ) -> DatagramEndpoint {
        DatagramEndpoint(.unix(.path(path)), options)
    }

    private static let types: KeyValuePairs = [
        "udp": "udp:9000:interface=127.0.0.1", "udp6": "udp6:9000",
        "unix-datagram": "unix-datagram:/run/log.socket",
    ]

    /// Reads an endpoint from text.
    ///
    /// `udp:PORT`, all IPv4 interfaces, with `interface=ADDRESS` one of them; an IPv6 address is
    /// written `[::1]`. `udp6:PORT`, all IPv6 interfaces. `unix-datagram:PATH`, or
    /// `unix-datagram:@NAME` for an abstract name; with `mode=600`. Further options of UDP:
    /// `peer=ADDRESS\:PORT` connects the port, `broadcast=yes`, `reuseport=yes`,
    /// `reuseaddress=yes`. A backslash takes the next character as it is.
    ///
    /// - Throws: ``EndpointError``, which says what is allowed.
    public init(parsing text: String) throws(EndpointError) {
        let description = try EndpointDescription(parsing: text, types: Self.types)
        options = DatagramOptions()
        switch description.type {
        case "udp", "udp6":
            address = try description.address(isIPv6: description.type == "udp6")
            try description.refuseOptions(
                besides: ["interface", "peer", "broadcast", "reuseport", "reuseaddress"])
        default:
            let path = try description.part(0, "path")
            address = .unix(try UnixAddress(described: path))
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
    /// Throws ``IOError`` that names the address and the cause, or what the closure throws.
    @discardableResult
    public func listen(
        on reactor: Reactor, _ makeProtocol: () throws -> any DatagramProtocol
    ) throws -> DatagramPort {
        try reactor.listenForDatagrams(on: address, options: options, makeProtocol())
    }
}

extension DatagramEndpoint: CustomStringConvertible {
    /// The address, as in "127.0.0.1:9000".
    public var description: String { address.description }
}
