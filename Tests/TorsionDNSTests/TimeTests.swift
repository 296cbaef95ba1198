// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

import Testing
import Torsion
import TorsionDNS
import TorsionTesting

/// What is known of names grows old, by the reactor's clock.
@Suite struct TimeTests {
    @Test func `N-85: the machine's files are read again when five seconds have passed`() {
        let files = PlayedFiles()
        let clock = ManualClock { reactor in PlayedMachine(files) }
        let dns = DNSResolver(on: clock.reactor)
        func address() -> String? {
            var found: [SocketAddress] = []
            dns.resolve("box", port: 1).addCallback { found = $0 }.whenFailed { Issue.record($0) }
            return found.first?.description
        }
        files.texts["/etc/hosts"] = "192.0.2.1 box\n"
        #expect(address() == "192.0.2.1:1")
        let readCount = files.openCount
        files.texts["/etc/hosts"] = "192.0.2.2 box\n"
        clock.advance(by: .milliseconds(4_999))
        #expect(address() == "192.0.2.1:1")
        #expect(files.openCount == readCount)
        clock.advance(by: .milliseconds(1))
        #expect(address() == "192.0.2.2:1")
    }

    @Test func `N-86: an answer is asked for again when its time to live has passed`() throws {
        let world = SimulatedWorld(seed: 1)
        let host = world.host("host")
        var counts: [Int] = []
        try host.run { reactor in
            let server = PlayedServer { query, _ in hostsZone.answer(query) }
            let configuration = DNSConfiguration(servers: [try server.listen(on: reactor, port: 53)]
            )
            let dns = DNSResolver(on: reactor, configuration)
            // The zone says 300 seconds.
            for seconds in [0, 299, 302] {
                reactor.callLater(.seconds(seconds)) {
                    dns.resolve("host.test", port: 1).addCallback { addresses in
                        #expect(addresses.count == 2)
                        counts.append(server.questions.count)
                    }.whenFailed { Issue.record($0) }
                }
            }
        }
        try world.run { counts.count == 3 }
        #expect(counts == [2, 2, 4])
        host.reactor.stop()
        try world.run { !host.isRunning }
    }
}

/// Services of a machine whose files a test writes.
private final class PlayedMachine: ReactorServices, NameResolver, SignalSource {
    let files: any FileSystem

    init(_ files: PlayedFiles) { self.files = files }

    var resolver: any NameResolver { self }
    var signals: any SignalSource { self }

    func resolve(_ host: String, port: UInt16) -> Deferred<[SocketAddress]> {
        preconditionFailure("\(host) is asked of the system")
    }

    func catchSignal(
        _ signal: Signal, _ body: @escaping (Signal) -> Void
    ) throws(IOError) -> any SignalRegistration {
        preconditionFailure("a signal is watched")
    }

    func die(by signal: Signal) -> Never { preconditionFailure("\(signal)") }

    func shutDown() {}
}

private final class PlayedFiles: FileSystem, @unchecked Sendable {
    var texts: [String: String] = ["/etc/nsswitch.conf": "hosts: files dns\n"]
    private(set) var openCount = 0

    func open(_ path: String, for access: FileAccess) throws(IOError) -> any OpenFile {
        openCount += 1
        guard let text = texts[path] else {
            throw IOError(.open, function: "open", code: .noSuchFile, subject: path)
        }
        return PlayedFile(Bytes(text.utf8))
    }
}

private final class PlayedFile: OpenFile {
    private let bytes: Bytes
    let descriptor: Int32 = -1

    init(_ bytes: Bytes) { self.bytes = bytes }

    func byteCount() -> Int64 { Int64(bytes.count) }

    func read(at offset: Int64, limit: Int) -> Bytes {
        bytes.dropFirst(Int(offset)).prefix(limit)
    }

    func write(_ bytes: RawSpan, at offset: Int64) { preconditionFailure("a file is written") }

    func isCached(_ range: Range<Int64>) -> Bool { true }

    func fetch(_ range: Range<Int64>) {}

    func close() {}
}
