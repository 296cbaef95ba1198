// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

internal import TorsionCore
internal import TorsionDNS
internal import TorsionServices

/// What `import Torsion` gives each of its reactors: libuv's services, with names looked up by the
/// reactor's `DNSResolver` where the machine asks for nothing that it does not know.
final class StandardServices: ReactorServices {
    private let system: UVServices
    private let dns: DNSResolver

    /// Makes the services of a reactor.
    static let make: @Sendable (Reactor) throws(IOError) -> any ReactorServices = {
        (reactor) throws(IOError) in try StandardServices(on: reactor)
    }

    private init(on reactor: Reactor) throws(IOError) {
        system = try UVServices(on: reactor)
        dns = reactor.companion(of: DNSResolver.self)
        var override = Environment.value(of: "TORSION_RESOLVER")
        // They change what resolv.conf(5) says, for the C library only.
        let changes = ["LOCALDOMAIN", "RES_OPTIONS"].contains { Environment.value(of: $0) != nil }
        if changes, override == nil { override = "system" }
        dns.leaveUnknown(to: system.resolver, override: override)
    }

    var resolver: any NameResolver { dns }
    var signals: any SignalSource { system.signals }
    var threads: any WorkerThreads { system.threads }
    var files: any FileSystem { system.files }
    var inheritedDescriptors: [InheritedDescriptor] { system.inheritedDescriptors }

    func makeFileNotifier() throws(IOError) -> any FileNotifier { try system.makeFileNotifier() }

    func wallTime() throws(IOError) -> WallTime { system.wallTime() }

    func randomBytes(count: Int) throws(IOError) -> [UInt8] {
        try system.randomBytes(count: count)
    }

    func shutDown() {
        dns.shutDown()
        system.shutDown()
    }
}
