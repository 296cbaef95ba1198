// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

import Glibc
import TestPrograms
import Testing
import Torsion
@_spi(Backend) import TorsionCore
import TorsionDNS
import TorsionProcesses
@_spi(Backend) import TorsionSockets
import TorsionTLS
import TorsionTesting

// What the tables of the page *Coming from Twisted* name, in use: each name that stands there has to
// stand here, where it is compiled.

private let twistedTypes: [Any.Type] = [
    SocketAddress.self, IPv4Address.self, IPv6Address.self, UnixAddress.self, ConnectionID.self,
    (any StreamProtocol).self, (any StreamProtocolFactory).self, (any StreamTransport).self,
    (any HalfCloseableProtocol).self, (any DescriptorReceiver).self,
    (any DescriptorTransport).self, (any Consumer).self, (any PushProducer).self,
    (any PullProducer).self, ListeningPort.self, DelayedCall.self, DescriptorWatch.self,
    (any DatagramTransport).self, (any DatagramProtocol).self, DatagramEndpoint.self,
    DatagramOptions.self, TransportSecurity.self, (any NameResolver).self, DNSResolver.self,
    (any ReactorServices).self, (any ReactorBackend).self, (any Poller).self,
    (any LoopGuest).self, BackendChoice.self, Reactor.self, ServiceTree.self,
    ClientService<Nobody>.self, (any StreamClientEndpoint).self, (any StreamServerEndpoint).self,
    ClientEndpoint.self, ServerEndpoint.self, ProcessEndpoint.self, EndpointParser.self,
    (any ProcessProtocol).self, ChildProcess.self, Command.self, FileWatch.self,
    Deferred<Void>.self, DeferredLock.self, DeferredSemaphore.self, DeferredQueue<Void>.self,
    DeferredList<Void>.self, LoopingCall.self, IOError.self, ConnectionLoss.self, ErrorCode.self,
    TLSClient.self, TLSClientContext.self, TLSServer.self, TLSServerContext.self,
    ManualClock.self, MemoryTransport.self,
]

private final class Nobody: StreamProtocol {
    func connectionMade(_ transport: any StreamTransport) {
        _ = transport.security
        _ = transport.peerAddress
    }
    func dataReceived(_ bytes: RawSpan, from transport: any StreamTransport) {}
}

private func useReactor(_ reactor: Reactor) throws {
    _ = try reactor.watch(descriptor: 0, for: Readiness.readable) { _ in }
    _ = try reactor.watch(descriptor: 1, for: Readiness.writable) { _ in }
    reactor.remote.callFromThread { _ in }
    reactor.callInThread {}
    reactor.deferToThread { 1 }.whenFailed { _ in }
    reactor.callLater(.zero) {}
    _ = (reactor.now, reactor.delayedCalls, try reactor.threads.limit)
    reactor.deferLater(.zero) {}.cancel()
    reactor.addTrigger(.before, .shutdown) {}
    reactor.spawn {}.whenFailed { _ in }
    reactor.stop()
    let resolver: any NameResolver = try reactor.resolver
    resolver.resolve("localhost", port: 1) { found in print(found) }.cancel()
    _ = DNSResolver.lookUp
}

private func useEndpoints(_ arguments: inout EndpointArguments, on reactor: Reactor) throws {
    let server = ServerEndpoint.tcp(port: 1), client = ClientEndpoint.tcp(host: "a", port: 1)
    _ = (ServerEndpoint.unix(path: "a"), ClientEndpoint.unix(path: "a"))
    _ = (ServerEndpoint.adopted(descriptor: 3), ClientEndpoint.adopted(descriptor: 3))
    _ = (DatagramEndpoint.adopted(descriptor: 3), DatagramEndpoint.udp(port: 1))
    _ = (DatagramEndpoint.unix(path: "a"), ServerEndpoint.standardStreams)
    _ = ClientEndpoint.open(input: 3, output: 4)
    let parser = EndpointParser.standard.adding(server: "a", example: "a:1") { _ in server }
    _ = try parser.client(parsing: "a")
    let endpoint = server
    _ = try endpoint.tls(TLSServerContext(TLSServer(TLSIdentity.pem(certificates: "", key: ""))))
    _ = client
    try Command("true").start(on: reactor)
    Command("true").output(on: reactor).cancel()
}

private func useTransports(_ transport: any StreamTransport, _ port: any DatagramTransport) throws {
    _ = transport.withDescriptor { $0 }
    transport.abortConnection()
    transport.loseWriteConnection()
    try transport.setOptions(try transport.options)
    transport.stopProducing()
    try transport.startTLS(TLSClientContext(), serverName: "a").whenFailed { _ in }
    try port.join(.ipv4(.loopback))
    try port.leave(.ipv4(.loopback))
    var options = DatagramOptions()
    options.allowsBroadcast = true
    options.peerAddress = nil
    guard let security = transport.security else { return }
    _ = (security.cipher, security.applicationProtocol, security.peerCertificate)
}

private func useTLS(_ server: inout TLSServer, _ client: inout TLSClient) {
    server.choose = nil
    server.applicationProtocols = client.applicationProtocols
}

private func useRest(_ services: any ReactorServices, _ producer: any PullProducer) throws {
    _ = services.resolver
    producer.produceMore()
    _ = BackendChoice.epoll
    try simulate("nothing", seeds: 1...1) { _ in }
}

// Not called: it would not return.
private func useMain() {
    Reactor.main { reactor in try reactor.start() }
    try? Reactor.run { reactor in reactor.stop() }
}

@Suite struct TwistedPage {
    /// `twisted.internet.interfaces` of Twisted 26.10.0: what is an interface there and begins with I.
    private static let interfaces = words(
        """
        IAcceptableCiphers IAddress ICipher IConnector IConsumer IDelayedCall
        IFileDescriptor IFileDescriptorReceiver IHalfCloseableDescriptor
        IHalfCloseableProtocol IHandshakeListener IHostResolution IHostnameResolver
        IListeningPort ILoggingContext IMulticastTransport INegotiated
        IOpenSSLClientConnectionCreator IOpenSSLContextFactory
        IOpenSSLServerConnectionCreator IProcessProtocol IProcessTransport IProducer
        IProtocol IProtocolFactory IProtocolNegotiationFactory IPullProducer IPushProducer
        IReactorCore IReactorDaemonize IReactorFDSet IReactorFromThreads IReactorInThreads
        IReactorMulticast IReactorPluggableNameResolver IReactorPluggableResolver
        IReactorProcess IReactorSSL IReactorSocket IReactorTCP IReactorTCP2
        IReactorThreads IReactorTime IReactorUDP IReactorUNIX IReactorUNIXDatagram
        IReactorWin32Events IReadDescriptor IReadWriteDescriptor IResolutionReceiver
        IResolver IResolverSimple ISSLTransport IServiceCollection IStreamClientEndpoint
        IStreamClientEndpointStringParserWithReactor IStreamServerEndpoint
        IStreamServerEndpointStringParser ISystemHandle ITCPTransport ITLSTransport
        ITransport IUDPTransport IUNIXDatagramConnectedTransport IUNIXDatagramTransport
        IUNIXTransport IWriteDescriptor
        """)

    /// The public modules of `twisted.internet` of the same.
    private static let modules = words(
        """
        abstract address asyncioreactor base cfreactor default defer endpoints
        epollreactor error fdesc gireactor glib2reactor gtk2reactor gtk3reactor inotify
        interfaces iocpreactor kqreactor main pollreactor posixbase process protocol
        pyuisupport reactor selectreactor serialport ssl stdio task tcp testing threads
        tksupport udp unix utils win32eventreactor wxreactor wxsupport
        """)

    private static func words(_ text: String) -> [String] {
        text.split(whereSeparator: \.isWhitespace).map(String.init)
    }

    private struct Row {
        let name: String
        let status: String
        let text: String
    }

    private func rows(below heading: String) throws -> [Row] {
        let page = try Self.text(of: "Sources/Torsion/Torsion.docc/ComingFromTwisted.md")
        let lines = page.split(separator: "\n").drop { $0 != "## " + heading }.dropFirst()
            .prefix { !$0.hasPrefix("## ") }.filter { $0.hasPrefix("| `") }
        return try lines.map { line in
            let cells = line.split(separator: "|").map { cell in
                String(cell.drop { $0 == " " }.reversed().drop { $0 == " " }.reversed())
            }
            try #require(cells.count == 3, "\(line)")
            return Row(name: cells[0].filter { $0 != "`" }, status: cells[1], text: cells[2])
        }
    }

    /// Of this package, which this file is two folders below.
    private static func text(of path: String) throws -> String {
        let own = "\(#filePath)"
        let root = own.split(separator: "/").dropLast(3).joined(separator: "/")
        let file = try #require(fopen("/\(root)/\(path)", "r"))
        defer { fclose(file) }
        var bytes: [UInt8] = []
        var byte = fgetc(file)
        while byte != EOF {
            bytes.append(UInt8(truncatingIfNeeded: byte))
            byte = fgetc(file)
        }
        return String(decoding: bytes, as: UTF8.self)
    }

    /// Swift's words in what stands between backquotes.
    private static func names(in text: String) -> [String] {
        text.split(separator: "`", omittingEmptySubsequences: false).enumerated()
            .filter { $0.offset % 2 == 1 && !$0.element.contains("(2)") }
            .flatMap { $0.element.split { !$0.isLetter && !$0.isNumber && $0 != "_" } }
            .map(String.init).filter { $0 != "_" && $0.first?.isNumber == false }
    }

    @Test(arguments: ["Every interface", "Every module"])
    func `each of Twisted's names has a row, and what the row names is compiled here`(
        heading: String
    ) throws {
        #expect(!twistedTypes.isEmpty)
        let expected = heading == "Every module" ? Self.modules : Self.interfaces
        let rows = try rows(below: heading)
        #expect(rows.map(\.name).sorted() == expected.sorted())
        // Code, and not the lists of names.
        let source = try Self.text(of: "Tests/Snippets/TwistedPage.swift")
        let code = source.prefix(
            upTo: try #require(source.firstRange(of: "@Suite struct")).lowerBound)
        let known = Set(
            code.split(separator: "\n").filter { !$0.hasPrefix("//") }.joined(separator: " ")
                .split { !$0.isLetter && !$0.isNumber && $0 != "_" }.map(String.init))
        let foreign = Set(Self.interfaces + Self.modules).union([
            "ReconnectingClientFactory", "Clock", "crash", "termios", "fork",
        ])
        for row in rows {
            #expect(["here", "otherwise", "not"].contains(row.status), "\(row.name)")
            #expect(!row.text.isEmpty, "\(row.name)")
            if row.status == "here" { #expect(row.text.contains("`") || row.text.contains("*")) }
            for name in Self.names(in: row.text) where !foreign.contains(name) {
                #expect(known.contains(name), "\(row.name): \(name) is not compiled here")
            }
        }
    }
}
