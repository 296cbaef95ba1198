// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

#if TLS

import Glibc
import Synchronization
import TestPrograms
import TestedBackends
import Testing
import Torsion
import TorsionTLS
import TorsionTesting

private let versions: [TLSVersion] = [.v12, .v13]

extension TestIdentity {
    fileprivate static let renewed = TestIdentity(
        "renewed", names: "DNS:a.test,IP:127.0.0.1", by: .authority)
}

/// Ports that the reactors of a group have opened.
private final class Ports: Sendable {
    private let numbers = Mutex<[UInt16]>([])

    /// Notes one, and says how many there are.
    func add(_ port: ListeningPort) -> Int {
        numbers.withLock {
            $0.append(port.localAddress.port ?? 0)
            return $0.count
        }
    }
}

/// Which reactors of a group have served, and how many sessions were begun and resumed.
private final class Served: Sendable {
    struct Counts {
        var reactors: Set<UInt32> = []
        var begun = 0
        var resumed = 0
    }

    private let counts = Mutex(Counts())

    var all: Counts { counts.withLock { $0 } }

    func note(_ transport: any StreamTransport) {
        let isResumed = transport.security?.isResumed ?? false
        let number = transport.id.reactorNumber
        counts.withLock { counts in
            counts.reactors.insert(number)
            if isResumed { counts.resumed += 1 } else { counts.begun += 1 }
        }
    }
}

/// Sends back what arrives.
private final class Echo: StreamProtocol {
    private let served: Served

    init(_ served: Served) { self.served = served }

    func connectionMade(_ transport: any StreamTransport) { served.note(transport) }

    func dataReceived(_ bytes: RawSpan, from transport: any StreamTransport) {
        transport.write(bytes)
    }
}

/// Serves by four reactors, and runs `body` in a task of the last that listens.
private func group(
    _ backend: BackendChoice, _ context: TLSServerContext, _ served: Served,
    _ body: @escaping @Sendable (any StreamClientEndpoint, Reactor) async throws -> Void
) throws {
    let ports = Ports()
    let client = try TLSClientContext(clientConfiguration())
    try ReactorGroup.run(count: 4, backend: backend, signals: .ignore) { reactor in
        let port = try ServerEndpoint.address(.ipv4(.loopback, port: 0)).tls(context)
            .listen(on: reactor) { Echo(served) }
        guard ports.add(port) == 4 else { return }
        let address = port.localAddress
        reactor.spawn {
            defer { reactor.stop(within: .zero) }
            let endpoint = try ClientEndpoint.address(address).tls(client, serverName: "a.test")
            try await body(endpoint, reactor)
        }.whenFailed { Issue.record("\($0)") }
    }
}

private func exchange(_ text: String, over connection: AsyncConnection) async throws {
    try await connection.write(text)
    var answer = ""
    while answer.utf8.count < text.utf8.count {
        let piece = try await connection.read { String(decoding: $0) }
        answer += try #require(piece)
    }
    #expect(answer == text)
}

@Suite(.serialized) struct GroupTests {
    @Test(arguments: BackendChoice.tested, versions)
    func `TLS-18: a group of four resumes every returning client`(
        backend: BackendChoice, version: TLSVersion
    ) throws {
        let served = Served()
        let context = try TLSServerContext(serverConfiguration(version))
        try group(backend, context, served) { endpoint, reactor in
            for round in 0..<40 {
                let connection = try await endpoint.connect(on: reactor).value
                try await exchange("round \(round)", over: connection)
                connection.close()
            }
        }
        // Which reactor serves a client, chance decides.
        #expect(served.all.begun == 1 && served.all.resumed == 39)
        #expect(served.all.reactors.count > 1)
    }

    @Test(arguments: BackendChoice.tested)
    func `TLS-19: a reload under load disturbs no connection, and each new one has it`(
        backend: BackendChoice
    ) throws {
        let served = Served()
        let source = CertificateSource(try TestIdentity.server.tls)
        let context = try TLSServerContext(TLSServer(source))
        let first = TestIdentity.server.der, second = TestIdentity.renewed.der
        let identities = [try TestIdentity.server.tls, try TestIdentity.renewed.tls]
        try group(backend, context, served) { endpoint, reactor in
            var old: [AsyncConnection] = []
            for number in 0..<8 {
                let connection = try await endpoint.connect(on: reactor).value
                try await exchange("made \(number)", over: connection)
                old.append(connection)
            }
            for round in 1...6 {
                source.replace(with: identities[round % 2])
                #expect(source.generation == round + 1)
                for connection in old { try await exchange("old \(round)", over: connection) }
                // A resumed session shows the certificate that it began with.
                var fresh = try clientConfiguration()
                fresh.resumesSessions = false
                let address = old[0].peerAddress
                for _ in 0..<4 {
                    let connection = try await ClientEndpoint.address(address)
                        .tls(fresh, serverName: "a.test").connect(on: reactor).value
                    try await exchange("new \(round)", over: connection)
                    let shown = connection.transport.security?.peerCertificate
                    #expect(shown == (round % 2 == 1 ? second : first))
                    connection.close()
                }
            }
            for connection in old {
                #expect(connection.transport.security?.peerCertificate == first)
                try await exchange("still here", over: connection)
                connection.close()
            }
        }
        #expect(served.all.begun + served.all.resumed == 8 + 6 * 4)
    }
}

@Suite struct ReloadTests {
    @Test func `TLS-19: files are read again, and a bad one keeps the last good`() throws {
        let folder = Folder()
        let certificate = folder.file("cert.pem", TestIdentity.server.certificate)
        let key = folder.file("key.pem", TestIdentity.server.key)
        let source = try CertificateSource(certificate: certificate, key: key)
        let pair = try Pair(.simulated, TLSServer(source))
        let client = try TLSClientContext(clientConfiguration())
        func shown() throws -> Bytes? {
            let note = Note()
            pair.server.whenMade = { $0.loseConnection() }
            try pair.connect(client, as: note)
            pair.run { note.loss != nil || pair.failure != nil }
            return note.security?.peerCertificate
        }
        #expect(try shown() == TestIdentity.server.der)
        for (name, text) in [
            ("cert.pem", ""), ("cert.pem", TestIdentity.renewed.certificate), ("key.pem", "no key"),
        ] {
            folder.file(name, text)
            do {
                try source.reload()
                Issue.record("\(name) was taken")
            } catch { #expect(error.sentence.contains(name), "\(error)") }
            #expect(source.generation == 1)
            #expect(try shown() == TestIdentity.server.der)
        }
        folder.file("key.pem", TestIdentity.renewed.key)
        try source.reload()
        #expect(source.generation == 2)
        #expect(try shown() == TestIdentity.renewed.der)
        pair.finish()
    }

    /// Turns a reactor that may do what `import Torsion` lets it.
    private func turn(_ reactor: Reactor, until isDone: () -> Bool) -> Bool {
        let end = reactor.now.advanced(by: .seconds(20))
        while !isDone(), reactor.now < end { reactor.turn(until: end) }
        return isDone()
    }

    @Test(arguments: BackendChoice.tested)
    func `TLS-19: files that are replaced by rename are read by themselves`(
        backend: BackendChoice
    ) throws {
        let folder = Folder()
        let certificate = folder.file("cert.pem", TestIdentity.server.certificate)
        let key = folder.file("key.pem", TestIdentity.server.key)
        let source = try CertificateSource(certificate: certificate, key: key)
        let pair = try Pair(
            backend, context: TLSServerContext(TLSServer(source)), services: UVServices.make)
        var readings: [TLSError?] = []
        try source.reloadWhenChanged(on: pair.reactor, gathering: .milliseconds(20)) {
            readings.append($0)
        }
        // One behind the other, as programs that renew certificates do.
        for (name, text) in [
            ("cert.pem", TestIdentity.renewed.certificate), ("key.pem", TestIdentity.renewed.key),
        ] {
            let next = folder.file(name + ".next", text)
            #expect(rename(next, folder.file(name)) == 0)
        }
        #expect(turn(pair.reactor) { !readings.isEmpty })
        #expect(readings.count == 1 && readings[0] == nil && source.generation == 2)
        let client = try TLSClientContext(clientConfiguration()), note = Note()
        pair.server.whenMade = { $0.loseConnection() }
        try pair.connect(client, as: note)
        pair.run { note.loss != nil || pair.failure != nil }
        #expect(note.security?.peerCertificate == TestIdentity.renewed.der)
        pair.port.stopListening()
        #expect(turn(pair.reactor) { pair.reactor.statistics.openConnections == 0 })
        pair.reactor.shutDown()
    }

    @Test func `TLS-19: rapid writes of half a file keep the last good, and end with the new`()
        throws
    {
        let folder = Folder()
        let certificate = folder.file("cert.pem", TestIdentity.server.certificate)
        let key = folder.file("key.pem", TestIdentity.server.key)
        let sources = CertificateSources()
        let endpoint = try EndpointParser.standard.addingTLS(loading: sources)
            .server(parsing: "tls:0:certificate=\(certificate):key=\(key)")
        let reactor = Reactor(backend: .epoll, services: UVServices.make)
        var readings: [TLSError?] = []
        let watch = try sources.reloadWhenChanged(on: reactor, gathering: .milliseconds(5)) {
            readings.append($0)
        }
        #expect(watch?.paths == [certificate, key])
        // Both are taken to pieces, so that each piece is a file of its own to whoever looks.
        for (path, text) in [
            (certificate, TestIdentity.renewed.certificate), (key, TestIdentity.renewed.key),
        ] {
            truncate(path, 0)
            let bytes = Array(text.utf8)
            for start in stride(from: 0, to: bytes.count, by: 100) {
                let file = open(path, O_WRONLY | O_APPEND | O_CLOEXEC)
                let piece = bytes[start..<min(start + 100, bytes.count)]
                #expect(write(file, Array(piece), piece.count) == piece.count)
                close(file)
                reactor.turn(until: reactor.now)
            }
        }
        #expect(turn(reactor) { !readings.isEmpty && readings.last! == nil })
        #expect(readings.dropLast().allSatisfy { $0 != nil })
        #expect("\(endpoint)".isEmpty == false)
        watch?.cancel()
        #expect(readings.count < 20, "\(readings.count) readings")
        reactor.shutDown()
    }

    @Test func `TLS-19: a watch holds what it reloads`() throws {
        let folder = Folder()
        let certificate = folder.file("cert.pem", TestIdentity.server.certificate)
        let key = folder.file("key.pem", TestIdentity.server.key)
        let reactor = Reactor(backend: .epoll, services: UVServices.make)
        var readings: [TLSError?] = []
        func watched() throws -> any StreamServerEndpoint {
            // Nobody else keeps these: the endpoint has what they made.
            let sources = CertificateSources()
            let endpoint = try EndpointParser.standard.addingTLS(loading: sources)
                .server(parsing: "tls:0:certificate=\(certificate):key=\(key)")
            try sources.reloadWhenChanged(on: reactor, gathering: .milliseconds(5)) {
                readings.append($0)
            }
            return endpoint
        }
        let endpoint = try watched()
        _ = folder.file("cert.pem", "garbage")
        #expect(turn(reactor) { !readings.isEmpty })
        #expect(readings.allSatisfy { $0 != nil })
        withExtendedLifetime(endpoint) { reactor.shutDown() }
    }

    @Test func `TLS-19: texts that have named no files have nothing to be watched`() throws {
        let reactor = Reactor(backend: .epoll, services: UVServices.make)
        #expect(try CertificateSources().reloadWhenChanged(on: reactor) == nil)
        reactor.shutDown()
    }

    @Test func `TLS-19: names and clients follow their sources, too`() throws {
        let named = CertificateSource(
            try TestIdentity("b", names: "DNS:b.test", by: .authority).tls)
        let own = CertificateSource(try TestIdentity.client.tls)
        var server = try serverConfiguration()
        server.identitiesByName = ["b.test": .following(named)]
        server.clientCertificates = .required(try TestIdentity.authority.roots)
        var configuration = try clientConfiguration()
        configuration.identity = .following(own)
        configuration.resumesSessions = false
        let client = try TLSClientContext(configuration)
        let pair = try Pair(.simulated, server)
        func ends() throws -> (client: Bytes?, server: Bytes?) {
            let note = Note()
            pair.server.whenMade = { $0.write("hello") }
            note.whenRead = { _, transport in transport.loseConnection() }
            try pair.connect(client, name: "b.test", as: note)
            pair.run { note.loss != nil || pair.failure != nil }
            pair.run { pair.server.transport == nil }
            return (note.security?.peerCertificate, pair.server.security?.peerCertificate)
        }
        #expect(try ends().server == TestIdentity.client.der)
        let (next, other) = (
            TestIdentity("b2", names: "DNS:b.test", by: .authority),
            TestIdentity("somebody else", by: .authority)
        )
        named.replace(with: try next.tls)
        own.replace(with: try other.tls)
        let now = try ends()
        #expect(now.client == next.der && now.server == other.der)
        pair.finish()
    }

    @Test func `an identity that is too weak is refused where it is read`() throws {
        let weak = TestIdentity.weak
        do {
            _ = try weak.tls
            Issue.record("it was taken")
        } catch { #expect((error as? TLSError)?.sentence == "ee key too small") }
    }
}

@Suite struct TicketTests {
    /// Whether a client resumes after what `between` does.
    private func isResumed(
        _ first: TLSServerContext, _ second: TLSServerContext, _ version: TLSVersion,
        between: (Pair) throws -> Void = { _ in }
    ) throws -> Bool? {
        let client = try TLSClientContext(clientConfiguration(version))
        var address = SocketAddress.ipv4(.loopback, port: 0)
        var isResumed: Bool?
        for context in [first, second] {
            let pair = try Pair(
                .simulated, context: context, address: address, services: { TimeOfDay($0) })
            address = pair.port.localAddress
            pair.server.whenMade = { $0.write("hello") }
            pair.client.whenRead = { _, transport in transport.loseConnection() }
            try pair.connect(client)
            pair.run { pair.client.loss != nil || pair.client.loss != nil || pair.failure != nil }
            isResumed = pair.client.security?.isResumed
            try between(pair)
            pair.finish()
        }
        return isResumed
    }

    @Test(arguments: versions)
    func `TLS-18: tickets are good for the key before the latest, and no longer`(
        version: TLSVersion
    ) throws {
        let keys = TLSTicketKeys()
        var server = try serverConfiguration(version)
        server.ticketKeys = keys
        // Two ports, which share nothing else.
        let (first, second) = (try TLSServerContext(server), try TLSServerContext(server))
        #expect(try isResumed(first, second, version) == true)
        #expect(try isResumed(first, second, version) { _ in keys.rotate() } == true)
        let isOld = try isResumed(first, second, version) { _ in
            keys.rotate()
            keys.rotate()
        }
        #expect(isOld == false)
        server.ticketKeys = nil
        #expect(try isResumed(first, TLSServerContext(server), version) == false)
    }

    @Test(arguments: versions)
    func `TLS-18: keys rotate by the time of day`(version: TLSVersion) throws {
        for (wait, isGood) in [(30, true), (70, true), (130, false)] {
            var server = try serverConfiguration(version)
            server.ticketKeys = TLSTicketKeys(rotatingEvery: .seconds(60))
            let context = try TLSServerContext(server)
            let client = try TLSClientContext(clientConfiguration(version))
            let pair = try Pair(.simulated, context: context, services: { TimeOfDay($0) })
            for round in 0..<2 {
                let note = Note()
                pair.server.whenMade = { $0.write("hello") }
                note.whenRead = { _, transport in transport.loseConnection() }
                try pair.connect(client, as: note)
                pair.run { note.loss != nil || pair.failure != nil }
                if round == 1 { #expect(note.security?.isResumed == isGood, "\(wait)") }
                let end = pair.reactor.now.advanced(by: .seconds(wait))
                while pair.reactor.now < end { pair.reactor.turn(until: end) }
            }
            pair.finish()
        }
    }

    @Test(arguments: versions)
    func `a session that was begun without a certificate is not resumed where one is required`(
        version: TLSVersion
    ) throws {
        let keys = TLSTicketKeys()
        var open = try serverConfiguration(version)
        open.ticketKeys = keys
        var closed = open
        closed.clientCertificates = .required(try TestIdentity.authority.roots)
        let (first, second) = (try TLSServerContext(open), try TLSServerContext(closed))
        let client = try TLSClientContext(clientConfiguration(version))
        var address = SocketAddress.ipv4(.loopback, port: 0)
        for context in [first, second] {
            let pair = try Pair(.simulated, context: context, address: address)
            address = pair.port.localAddress
            pair.server.whenMade = { $0.write("hello") }
            pair.client.whenRead = { _, transport in transport.loseConnection() }
            try pair.connect(client)
            pair.run {
                !pair.failures.errors.isEmpty || pair.client.loss != nil || pair.failure != nil
            }
            if context === second {
                pair.run { !pair.failures.errors.isEmpty }
                #expect((pair.failures.errors.first as? TLSError)?.cause == .noCertificate)
                #expect(pair.made == 0)
            }
            pair.finish()
        }
    }

    @Test func `TLS-18: a server that writes nothing sends its ticket a tenth of a second later`()
        throws
    {
        let context = try TLSServerContext(serverConfiguration())
        let client = try TLSClientContext(clientConfiguration())
        let pair = try Pair(.simulated, context: context)
        for round in 0..<2 {
            let note = Note()
            try pair.connect(client, as: note)
            pair.run { note.transport != nil }
            let end = pair.reactor.now.advanced(by: .milliseconds(150))
            while pair.reactor.now < end { pair.reactor.turn(until: end) }
            #expect(note.security?.isResumed == (round == 1))
            note.transport?.loseConnection()
            pair.run { note.loss != nil && pair.server.transport == nil }
        }
        pair.finish()
    }
}

#endif
