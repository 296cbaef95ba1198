// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

import Glibc
import TestPrograms
import Testing
import Torsion

/// What a loss says of its cause, where the kernel has told it and the engine was busy.
@Suite struct LossReasonTests {
    /// Does as it is told with the first bytes.
    private final class Busy: HalfCloseableProtocol {
        var loss: ConnectionLoss?
        private let body: (any StreamTransport) -> Void

        init(_ body: @escaping (any StreamTransport) -> Void) { self.body = body }

        func dataReceived(_ bytes: RawSpan, from transport: any StreamTransport) {
            body(transport)
        }

        func readConnectionLost(from transport: any StreamTransport) {}
        func writeConnectionLost(from transport: any StreamTransport) {}

        func connectionLost(_ why: ConnectionLoss, from transport: any StreamTransport) {
            loss = why
        }
    }

    enum Verb: CaseIterable { case lose, loseWriting, write }

    /// The kernel has no connection any more, and says ENOTCONN to a shutdown: what it was lost of
    /// waits as the socket's error.
    @Test(arguments: backendNames, Verb.allCases)
    func `a reset while a callback runs is the reason, whatever the callback does`(
        name: String, verb: Verb
    ) throws {
        let reactor = try Reactor.turned(by: name)
        var peer: Socket?
        let server = Busy { transport in
            peer?.reset()
            switch verb {
            case .lose: transport.loseConnection()
            case .loseWriting: transport.loseWriteConnection()
            case .write: transport.write("answer")
            }
        }
        let port = try reactor.listen(on: .ipv4(.loopback, port: 0)) { _ in server }
        peer = try Socket(port: port.localAddress.port!)
        peer?.write("question")
        try #require(reactor.turn { server.loss != nil })
        guard case .failed(let error) = server.loss else {
            Issue.record("\(server.loss!)")
            return
        }
        #expect(error.code == .connectionReset, "\(error)")
        reactor.shutDown()
    }
}

/// This end's address, as `connectionLost` sees it.
@Suite struct LostAddressTests {
    private final class Noting: StreamProtocol {
        var made: SocketAddress?
        var lost: SocketAddress?
        var transport: (any StreamTransport)?
        let asksBefore: Bool

        init(asksBefore: Bool = false) { self.asksBefore = asksBefore }

        func connectionMade(_ transport: any StreamTransport) {
            self.transport = transport
            if asksBefore { made = transport.localAddress }
        }

        func dataReceived(_ bytes: RawSpan, from transport: any StreamTransport) {}

        func connectionLost(_ why: ConnectionLoss, from transport: any StreamTransport) {
            self.transport = nil
            lost = transport.localAddress
        }
    }

    enum End: CaseIterable { case closed, aborted, reset, stopped }

    /// A listener that is bound to every address knows none of its connections'.
    @Test(
        arguments: backendNames,
        [
            SocketAddress.ipv4(.any, port: 0), .ipv4(.loopback, port: 0), .ipv6(.any, port: 0),
            .ipv6(.loopback, port: 0),
        ])
    func `both ends still know where they were when they are told of the loss`(
        name: String, place: SocketAddress
    ) throws {
        for end in End.allCases {
            let reactor = try Reactor.turned(by: name)
            let server = Noting(), client = Noting()
            let port = try reactor.listen(on: place) { _ in server }
            let number = port.localAddress.port!
            var address = SocketAddress.ipv4(.loopback, port: number)
            if case .ipv6 = place { address = .ipv6(.loopback, port: number) }
            ClientEndpoint.address(address).connect(on: reactor) { client }
                .whenFailed { Issue.record("\($0)") }
            #expect(reactor.turn { server.transport != nil && client.transport != nil })
            let clientAddress = server.transport?.peerAddress
            switch end {
            case .closed: client.transport?.loseConnection()
            case .aborted: client.transport?.abortConnection()
            case .reset: server.transport?.abortConnection()
            case .stopped: reactor.shutDown()
            }
            #expect(reactor.turn { server.lost != nil && client.lost != nil })
            #expect(server.lost == address && client.lost == clientAddress, "\(end)")
            reactor.shutDown()
        }
    }

    @Test(arguments: backendNames, [false, true])
    func `over UNIX sockets too`(name: String, isBound: Bool) throws {
        let reactor = try Reactor.turned(by: name)
        let folder = TemporaryFolder()
        let path = folder.file("socket"), own = folder.file("own")
        let server = Noting(), client = Noting()
        try ServerEndpoint.unix(path: path).listen(on: reactor) { server }
        var endpoint = ClientEndpoint.unix(path: path)
        if isBound { endpoint.options.bindAddress = .unix(.path(own)) }
        endpoint.connect(on: reactor) { client }.whenFailed { Issue.record("\($0)") }
        #expect(reactor.turn { server.transport != nil && client.transport != nil })
        client.transport?.loseConnection()
        #expect(reactor.turn { server.lost != nil && client.lost != nil })
        #expect(server.lost == .unix(.path(path)))
        #expect(client.lost == (isBound ? .unix(.path(own)) : .unix(.unnamed)))
        reactor.shutDown()
    }

    @Test(arguments: backendNames)
    func `an adopted connection's too`(name: String) throws {
        let reactor = try Reactor.turned(by: name)
        let listening = try Socket.bound()
        try listening.listen()
        let peer = try Socket(port: listening.port)
        let accepted = try listening.accept()
        let number = accepted.duplicateForChildren()
        defer { close(number) }
        let server = Noting()
        try ServerEndpoint(parsing: "fd:\(number)").listen(on: reactor) { server }
        #expect(reactor.turn { server.transport != nil })
        peer.close()
        #expect(reactor.turn { server.lost != nil })
        #expect(server.lost == .ipv4(.loopback, port: listening.port))
        reactor.shutDown()
    }
}
