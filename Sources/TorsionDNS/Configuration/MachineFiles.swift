// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

internal import TorsionCore

/// What this machine's files say about names, read again when they are five seconds old.
struct MachineFiles {
    private static let limitBytes = 1 << 20
    private static let age = Duration.seconds(5)

    private(set) var configuration = DNSConfiguration(servers: [])
    private(set) var nsswitch = ""
    private var hostName = ""
    private var texts: [String] = []
    private var readAt: MonotonicInstant?

    func isDue(_ now: MonotonicInstant) -> Bool {
        readAt.map { $0.duration(to: now) >= Self.age } ?? true
    }

    /// Reads them in place.
    ///
    /// - Returns: Whether they differ from what was read before.
    mutating func read(on reactor: Reactor) -> Bool {
        readAt = reactor.now
        let paths = [
            "/etc/resolv.conf", "/etc/hosts", "/etc/nsswitch.conf", "/proc/sys/kernel/hostname",
        ]
        let files = try? reactor.files
        let read = paths.map { path in files.map { Self.read(path, $0) } ?? "" }
        guard read != texts else { return false }
        texts = read
        hostName = read[3].split(separator: "\n").first.map(String.init) ?? ""
        configuration = DNSConfiguration(
            resolvConf: read[0], hostName: hostName, hosts: HostsFile(read[1]))
        nsswitch = read[2]
        return true
    }

    /// Whether `nss-myhostname(8)` is asked for, and knows this name: the addresses are those of the
    /// machine's interfaces, which only the system lists.
    func isOwnName(_ host: String) -> Bool {
        guard ResolverChoice.hostSources(nsswitch).contains("myhostname") else { return false }
        return ["_gateway", "_outbound", hostName].contains { name in
            !name.isEmpty && name.utf8.map(\.asciiLowercased) == host.utf8.map(\.asciiLowercased)
        }
    }

    /// A file's text; empty if it cannot be read.
    private static func read(_ path: String, _ files: any FileSystem) -> String {
        guard let file = try? files.open(path, for: .reading) else { return "" }
        var bytes: [UInt8] = []
        while bytes.count < limitBytes {
            let more = try? file.read(
                at: Int64(bytes.count), limit: min(16_384, limitBytes - bytes.count))
            guard let more, !more.isEmpty else { break }
            bytes += more
            // What `read(2)` gave less of has ended.
            if more.count < 16_384 { break }
        }
        try? file.close()
        return String(decoding: bytes, as: UTF8.self)
    }
}
