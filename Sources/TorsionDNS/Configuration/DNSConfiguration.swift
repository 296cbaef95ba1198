// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

public import TorsionCore

/// How names are looked up: what `resolv.conf(5)` and `hosts(5)` say, as a value.
///
/// Usable on any thread.
///
///     var configuration = DNSConfiguration(servers: [.ipv4(IPv4Address(192, 0, 2, 53), port: 53)])
///     configuration.timeout = .seconds(1)
///     let dns = DNSResolver(on: reactor, configuration)
public struct DNSConfiguration: Hashable, Sendable {
    /// The name servers, which do the work of asking others, the first first; at most 16 are used.
    public var servers: [SocketAddress]

    /// The domains that are appended to names with few dots: `search`.
    public var searchDomains: [DNSName] = []

    /// How many dots a name needs to be asked for as it is first: `ndots`, 1 by default.
    public var dotThreshold = 1

    /// How long a server has to answer before the next is asked: `timeout`, 5 s by default.
    public var timeout = Duration.seconds(5)

    /// How often the list of servers is gone through: `attempts`, 2 by default.
    public var attempts = 2

    /// Whether look-ups begin with the servers in turn: `rotate`.
    public var rotatesServers = false

    /// Whether all queries go over TCP: `use-vc`.
    public var usesTCPOnly = false

    /// How long a whole look-up may take, whatever it consists of: 10 s by default.
    public var limit = Duration.seconds(10)

    /// Names that are answered without a server.
    public var hosts = HostsFile()

    /// Options that stand in `resolv.conf(5)` and are not known here; then the system's resolver
    /// does the work by default.
    public internal(set) var unknownOptions: [String] = []

    /// A configuration without search domains.
    ///
    /// - Parameter servers: The name servers: IPv4 or IPv6 addresses with their ports.
    public init(servers: [SocketAddress]) { self.servers = servers }

    /// Reads `resolv.conf(5)`.
    ///
    /// Never fails: unknown lines are passed over, as the C library does, and noted in
    /// ``unknownOptions``. Without a server it is the one of this machine.
    ///
    /// - Parameters:
    ///   - text: The file's content; empty without a file.
    ///   - hostName: The machine's own name, whose domain is searched if the file does not name
    ///     one.
    ///   - hosts: The content of `hosts(5)`, read already.
    public init(resolvConf text: String, hostName: String = "", hosts: HostsFile = HostsFile()) {
        self.init(servers: [])
        self.hosts = hosts
        var domains: [DNSName]?
        for line in lines(of: text) {
            // A comment is a whole line here; behind a value it would be a part of it.
            guard let keyword = line.first, !keyword.hasPrefix("#"), !keyword.hasPrefix(";") else {
                continue
            }
            let values = line.dropFirst()
            switch keyword {
            case "nameserver":
                guard let value = values.first else { continue }
                if let address = SocketAddress(host: value, port: 53) {
                    // The C library takes three.
                    if servers.count < 3 { servers.append(address) }
                } else {
                    unknownOptions.append("nameserver \(value)")
                }
            case "domain": domains = values.prefix(1).compactMap { DNSName($0) }
            case "search": domains = values.compactMap { DNSName($0) }
            case "options": for value in values { read(option: value) }
            default: unknownOptions.append(keyword)
            }
        }
        if let dot = hostName.firstIndex(of: "."), domains == nil {
            domains = DNSName(String(hostName[hostName.index(after: dot)...])).map { [$0] }
        }
        searchDomains = (domains ?? []).filter { !$0.isRoot }
        if servers.isEmpty { servers = [.ipv4(.loopback, port: 53)] }
    }

    private mutating func read(option: String) {
        let parts = option.split(separator: ":", maxSplits: 1, omittingEmptySubsequences: false)
        let number = parts.count == 2 ? Int(parts[1]) ?? -1 : -1
        // The limits are those of the C library.
        switch parts[0] {
        case "ndots" where number >= 0: dotThreshold = min(number, 15)
        case "timeout" where number >= 0: timeout = .seconds(min(max(number, 1), 30))
        case "attempts" where number >= 0: attempts = min(max(number, 1), 5)
        case "rotate": rotatesServers = true
        case "use-vc", "usevc", "tcp": usesTCPOnly = true
        // What they ask for is so here anyway: each query has a port of its own, EDNS is tried
        // first, and the file is read again when it has changed; or changes nothing in an answer.
        case "single-request", "single-request-reopen", "edns0", "trust-ad", "debug": break
        default: unknownOptions.append(option)
        }
    }
}

/// The names that `hosts(5)` gives addresses, as a value.
///
/// Usable on any thread.
public struct HostsFile: Hashable, Sendable {
    private var addresses: [String: [SocketAddress]] = [:]
    private var names: [SocketAddress: [DNSName]] = [:]

    /// An empty file.
    public init() {}

    /// Reads the file's content; lines that cannot be read are passed over.
    ///
    /// - Parameter text: An address and its names on each line; `#` begins a comment.
    /// - Complexity: O(*n*) in the length of the text.
    public init(_ text: String) {
        for line in lines(of: text, comment: UInt8(ascii: "#")) {
            guard let first = line.first, let address = SocketAddress(host: first, port: 0) else {
                continue
            }
            for name in line.dropFirst() {
                let key = Self.key(name)
                // The same line twice is one address.
                if addresses[key]?.last != address { addresses[key, default: []].append(address) }
                if let name = DNSName(name) { names[address, default: []].append(name) }
            }
        }
    }

    /// The addresses of a host, in the file's order; empty if it is not there.
    ///
    /// - Parameters:
    ///   - host: In any case, with a final dot or without.
    ///   - port: Put into each address.
    /// - Returns: Each address once.
    public func addresses(of host: String, port: UInt16 = 0) -> [SocketAddress] {
        (addresses[Self.key(host)] ?? []).map { address in
            var address = address
            address.port = port
            return address
        }
    }

    /// The names of an address, in the file's order.
    ///
    /// - Parameter address: Its port does not matter.
    /// - Returns: Empty if the address is not there.
    public func names(of address: SocketAddress) -> [DNSName] {
        var address = address
        address.port = 0
        return names[address] ?? []
    }

    private static func key(_ name: String) -> String {
        let bytes = name.utf8.map(\.asciiLowercased)
        return String(
            decoding: bytes.last == UInt8(ascii: ".") ? bytes.dropLast() : bytes[...],
            as: UTF8.self)
    }
}

/// The words of each line that has some.
private func lines(of text: String, comment: UInt8? = nil) -> [[String]] {
    text.utf8.split(separator: UInt8(ascii: "\n")).compactMap { line in
        let end = comment.flatMap { line.firstIndex(of: $0) } ?? line.endIndex
        let words = line[..<end].split { byte in
            byte == UInt8(ascii: " ") || byte == UInt8(ascii: "\t") || byte == UInt8(ascii: "\r")
        }
        return words.isEmpty ? nil : words.map { String(decoding: $0, as: UTF8.self) }
    }
}

/// Which resolver looks a machine's names up.
///
/// The rule is Go's: what `nsswitch.conf(5)` and `resolv.conf(5)` ask for is done here if all of it
/// is known here, else by the system.
public enum ResolverChoice: Hashable, Sendable {
    /// That of ``DNSResolver``, which runs without a thread.
    case own
    /// `getaddrinfo(3)`; why is said in words.
    case system(reason: String)

    /// Chooses by a machine's files.
    ///
    /// - Parameters:
    ///   - nsswitch: The content of `nsswitch.conf(5)`; empty without a file.
    ///   - configuration: The content of `resolv.conf(5)`.
    ///   - override: The value of `TORSION_RESOLVER`: `own` or `system`; anything else is ignored.
    public init(nsswitch: String, _ configuration: DNSConfiguration, override: String? = nil) {
        switch override {
        case "own": self = .own
        case "system": self = .system(reason: "TORSION_RESOLVER asks for it")
        default:
            let sources = Self.hostSources(nsswitch).filter { $0 != "myhostname" }
            if sources != ["files", "dns"] {
                let words = sources.joined(separator: " ")
                self = .system(reason: "nsswitch.conf looks for hosts in '\(words)'")
            } else if let option = configuration.unknownOptions.first {
                self = .system(reason: "resolv.conf has \(option)")
            } else {
                self = .own
            }
        }
    }

    /// Where hosts are looked for, in order: the words behind `hosts:`, criteria included.
    static func hostSources(_ nsswitch: String) -> [String] {
        let line = lines(of: nsswitch, comment: UInt8(ascii: "#")).last { $0.first == "hosts:" }
        return line.map { Array($0.dropFirst()) } ?? ["files", "dns"]
    }

    /// Whether `hosts(5)` comes before everything else, so that a name in it need not be looked up.
    static func readsHostsFirst(_ nsswitch: String) -> Bool {
        hostSources(nsswitch).first == "files"
    }
}
