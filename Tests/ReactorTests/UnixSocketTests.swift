// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

import Glibc
import TestPrograms
import Testing
import Torsion

/// UNIX sockets with a path: `unix(7)`; SEMANTICS S14, U1.
@Suite struct UnixSocketTests {
    private let folder = TemporaryFolder()

    private func endpoint(_ name: String) -> ServerEndpoint { .unix(path: folder.file(name)) }

    /// Leaves a socket's file at the path as a server does that died.
    private func leaveStaleFile(_ path: String, kind: __socket_type = SOCK_STREAM) {
        let descriptor = socket(AF_UNIX, Int32(kind.rawValue), 0)
        precondition(bindRaw(descriptor, to: path) == 0, "bind: errno \(errno)")
        close(descriptor)
    }

    private func bindRaw(_ descriptor: Int32, to path: String) -> Int32 {
        withAddress(path) { bind(descriptor, $0, $1) }
    }

    private func connectRaw(_ descriptor: Int32, to path: String) -> Int32 {
        withAddress(path) { connect(descriptor, $0, $1) }
    }

    private func withAddress(
        _ path: String, _ call: (UnsafePointer<sockaddr>, socklen_t) -> Int32
    ) -> Int32 {
        var address = sockaddr_un()
        address.sun_family = sa_family_t(AF_UNIX)
        withUnsafeMutableBytes(of: &address.sun_path) { $0.copyBytes(from: path.utf8) }
        let size = socklen_t(MemoryLayout<sockaddr_un>.size)
        return withUnsafePointer(to: &address) { pointer in
            pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) { call($0, size) }
        }
    }

    @Test(arguments: backendNames)
    func `each side is told who is at the other end, and never of another`(name: String) throws {
        /// Asks at the start and at the end.
        final class Asker: StreamProtocol {
            var told: [PeerCredentials?] = []
            var isLost = false
            var transport: (any StreamTransport)?
            func connectionMade(_ transport: any StreamTransport) {
                self.transport = transport
                told.append(transport.peerCredentials)
            }
            func dataReceived(_ bytes: RawSpan, from transport: any StreamTransport) {}
            func connectionLost(_ why: ConnectionLoss, from transport: any StreamTransport) {
                // If it is closed, others have its number now, of whose peer there is nothing to tell.
                let others = (0..<4).map { _ in socket(AF_INET, Int32(SOCK_STREAM.rawValue), 0) }
                told.append(transport.peerCredentials)
                for other in others { close(other) }
                isLost = true
            }
        }
        let reactor = try Reactor.turned(by: name)
        let own = PeerCredentials(processID: getpid(), userID: geteuid(), groupID: getegid())
        let cases: [(String, PeerCredentials?)] = [
            ("unix:" + folder.file("socket"), own), ("tcp:0:interface=127.0.0.1", nil),
        ]
        for (text, wanted) in cases {
            let server = Asker(), client = Asker()
            let port = try ServerEndpoint(parsing: text).listen(on: reactor) { server }
            ClientEndpoint.address(port.localAddress).connect(on: reactor) { client }
                .whenFailed { Issue.record("\($0)") }
            #expect(reactor.turn { !client.told.isEmpty && !server.told.isEmpty })
            port.stopListening()
            client.transport?.loseConnection()
            #expect(reactor.turn { client.isLost && server.isLost })
            for asker in [client, server] {
                #expect(asker.told.first == wanted)
                #expect(asker.told.last == wanted || asker.told.last == PeerCredentials?.none)
            }
        }
        reactor.shutDown()
    }

    @Test(arguments: backendNames)
    func `both sides know the path, and bytes go both ways`(name: String) throws {
        let reactor = try Reactor.turned(by: name)
        let path = folder.file("socket")
        let server = Witness(), client = Witness()
        let port = try ServerEndpoint.unix(path: path).listen(on: reactor) { server }
        #expect(port.localAddress == .unix(.path(path)))
        var peers: [SocketAddress] = []
        ClientEndpoint.unix(path: path).connect(on: reactor) { peer in
            peers.append(peer)
            return client
        }.whenFailed { Issue.record("\($0)") }
        #expect(reactor.turn { client.transport != nil && server.transport != nil })
        #expect(peers == [.unix(.path(path))])
        #expect(client.transport?.peerAddress == .unix(.path(path)))
        #expect(client.transport?.localAddress == .unix(.unnamed))
        #expect(server.transport?.localAddress == .unix(.path(path)))
        #expect(server.transport?.peerAddress == .unix(.unnamed))
        client.transport?.write("question")
        server.transport?.write("answer")
        #expect(reactor.turn { server.text == "question" && client.text == "answer" })
        // Connections outlive the port.
        port.stopListening()
        client.transport?.loseConnection()
        #expect(reactor.turn { server.loss == .closedByPeer && client.loss == .closedLocally })
        reactor.shutDown()
    }

    @Test(arguments: backendNames)
    func `a client that binds a path is known by it`(name: String) throws {
        let reactor = try Reactor.turned(by: name)
        let path = folder.file("socket"), own = folder.file("own")
        let server = Witness(), client = Witness()
        let port = try ServerEndpoint.unix(path: path).listen(on: reactor) { server }
        var endpoint = ClientEndpoint.unix(path: path)
        endpoint.options.bindAddress = .unix(.path(own))
        endpoint.connect(on: reactor) { client }.whenFailed { Issue.record("\($0)") }
        #expect(reactor.turn { client.transport != nil && server.transport != nil })
        #expect(client.transport?.localAddress == .unix(.path(own)))
        #expect(server.transport?.peerAddress == .unix(.path(own)))
        port.stopListening()
        reactor.shutDown()
    }

    @Test(arguments: backendNames, ["server", "\u{1}\u{7f}"])
    func `an abstract name is no file, and free again at once`(name: String, abstract: String)
        throws
    {
        let reactor = try Reactor.turned(by: name)
        // Unlike that of any other test.
        let bytes = Array((folder.path + abstract).utf8)
        for _ in 0..<2 {
            let server = Witness(), client = Witness()
            let port = try ServerEndpoint.address(.unix(.abstract(bytes)))
                .listen(on: reactor) { server }
            #expect(port.localAddress == .unix(.abstract(bytes)))
            ClientEndpoint.address(port.localAddress).connect(on: reactor) { client }
                .whenFailed { Issue.record("\($0)") }
            #expect(reactor.turn { client.transport != nil && server.transport != nil })
            #expect(client.transport?.peerAddress == .unix(.abstract(bytes)))
            #expect(server.transport?.localAddress == .unix(.abstract(bytes)))
            port.stopListening()
            client.transport?.abortConnection()
            #expect(reactor.turn { server.loss != nil && client.loss != nil })
        }
        reactor.shutDown()
    }

    // MARK: The file

    @Test(arguments: backendNames)
    func `the file is removed when the port closes`(name: String) throws {
        let reactor = try Reactor.turned(by: name)
        let port = try endpoint("socket").listen(on: reactor) { nil }
        #expect(status(of: folder.file("socket"))!.st_mode & S_IFMT == S_IFSOCK)
        port.stopListening()
        #expect(status(of: folder.file("socket")) == nil)
        let second = try endpoint("socket").listen(on: reactor) { nil }
        _ = second
        // The end of the reactor closes the port as well.
        reactor.shutDown()
        #expect(status(of: folder.file("socket")) == nil)
    }

    @Test(arguments: backendNames)
    func `a file that somebody put in its place stays`(name: String) throws {
        let reactor = try Reactor.turned(by: name)
        let path = folder.file("socket")
        let port = try endpoint("socket").listen(on: reactor) { nil }
        unlink(path)
        leaveStaleFile(path)
        let inode = status(of: path)!.st_ino
        port.stopListening()
        #expect(status(of: path)?.st_ino == inode)
        reactor.shutDown()
    }

    @Test(arguments: backendNames)
    func `the file of a dead server is replaced`(name: String) throws {
        let reactor = try Reactor.turned(by: name)
        leaveStaleFile(folder.file("socket"))
        let server = Witness(), client = Witness()
        let port = try endpoint("socket").listen(on: reactor) { server }
        ClientEndpoint.address(port.localAddress).connect(on: reactor) { client }
            .whenFailed { Issue.record("\($0)") }
        #expect(reactor.turn { server.transport != nil })
        reactor.shutDown()
        #expect(status(of: folder.file("socket")) == nil)
    }

    @Test(arguments: backendNames)
    func `a live server keeps its path, and its clients`(name: String) throws {
        let reactor = try Reactor.turned(by: name)
        let path = folder.file("socket")
        let server = Witness(), client = Witness()
        let port = try endpoint("socket").listen(on: reactor) { server }
        let inode = status(of: path)!.st_ino
        expectInUse(reactor, path)
        #expect(status(of: path)?.st_ino == inode)
        ClientEndpoint.address(port.localAddress).connect(on: reactor) { client }
            .whenFailed { Issue.record("\($0)") }
        #expect(reactor.turn { server.transport != nil && client.transport != nil })
        reactor.shutDown()
    }

    @Test(arguments: backendNames)
    func `what is no dead socket is never removed`(name: String) throws {
        let reactor = try Reactor.turned(by: name)
        // A file, a link to a dead socket, and a live socket of another kind.
        let file = folder.file("file"), link = folder.file("link"),
            datagram = folder.file("datagram")
        close(open(file, O_CREAT | O_WRONLY, 0o600))
        leaveStaleFile(folder.file("dead"))
        symlink(folder.file("dead"), link)
        let receiver = socket(AF_UNIX, Int32(SOCK_DGRAM.rawValue), 0)
        #expect(bindRaw(receiver, to: datagram) == 0)
        defer { close(receiver) }
        for path in [file, link, datagram] {
            let inode = status(of: path)!.st_ino
            expectInUse(reactor, path)
            #expect(status(of: path)?.st_ino == inode)
        }
        reactor.shutDown()
    }

    @Test(arguments: backendNames)
    func `the look at whether a server lives is no client of it`(name: String) throws {
        let reactor = try Reactor.turned(by: name)
        var peers = 0
        let port = try endpoint("socket").listen(on: reactor) { _ in
            peers += 1
            return Witness()
        }
        expectInUse(reactor, folder.file("socket"))
        // A client that comes later is accepted behind all that came before.
        let client = Witness()
        ClientEndpoint.address(port.localAddress).connect(on: reactor) { client }
            .whenFailed { Issue.record("\($0)") }
        #expect(reactor.turn { client.transport != nil && peers > 0 })
        #expect(peers == 1)
        reactor.shutDown()
    }

    /// One of another kind, and one that has not begun to listen.
    @Test(arguments: backendNames, [SOCK_STREAM, SOCK_DGRAM, SOCK_SEQPACKET].map(\.rawValue))
    func `a bound socket of any kind keeps its path, a dead one does not`(
        name: String, kind: UInt32
    ) throws {
        let reactor = try Reactor.turned(by: name)
        let path = folder.file("socket")
        let other = socket(AF_UNIX, Int32(kind), 0)
        #expect(bindRaw(other, to: path) == 0)
        let inode = status(of: path)!.st_ino
        expectInUse(reactor, path)
        #expect(throws: IOError.self) {
            try DatagramEndpoint.unix(path: path).listen(on: reactor) { DatagramWitness() }
        }
        #expect(status(of: path)?.st_ino == inode)
        close(other)
        let port = try ServerEndpoint.unix(path: path).listen(on: reactor) { nil }
        port.stopListening()
        reactor.shutDown()
    }

    // MARK: A full backlog

    /// A server whose backlog has no room, with the client that fills it: `unix(7)` answers EAGAIN.
    private func fullServer(at path: String) -> (server: Int32, filler: Int32) {
        let server = socket(AF_UNIX, Int32(SOCK_STREAM.rawValue), 0)
        precondition(bindRaw(server, to: path) == 0 && listen(server, 0) == 0)
        let filler = socket(AF_UNIX, Int32(SOCK_STREAM.rawValue), 0)
        precondition(connectRaw(filler, to: path) == 0)
        return (server, filler)
    }

    @Test(arguments: backendNames)
    func `a connect to a full backlog waits for its turn`(name: String) throws {
        let reactor = try Reactor.turned(by: name)
        let path = folder.file("socket"), own = folder.file("own")
        let (server, filler) = fullServer(at: path)
        defer { for descriptor in [server, filler] { close(descriptor) } }
        var endpoint = ClientEndpoint.unix(path: path)
        // Bound, so that each attempt has a file to leave behind.
        endpoint.options.bindAddress = .unix(.path(own))
        let client = Witness()
        var failure: (any Error)?
        endpoint.connect(on: reactor) { client }.whenFailed { failure = $0 }
        #expect(!reactor.turn(within: .milliseconds(20)) { failure != nil })
        close(accept(server, nil, nil))
        #expect(reactor.turn { client.transport != nil || failure != nil })
        #expect(failure == nil)
        #expect(client.transport?.localAddress == .unix(.path(own)))
        reactor.shutDown()
    }

    @Test(arguments: backendNames)
    func `a backlog that stays full is a timeout, and a cancelled wait ends`(name: String) throws {
        let reactor = try Reactor.turned(by: name)
        let path = folder.file("socket")
        let (server, filler) = fullServer(at: path)
        defer { for descriptor in [server, filler] { close(descriptor) } }
        var endpoint = ClientEndpoint.unix(path: path)
        endpoint.options.connectTimeout = .milliseconds(50)
        var failures: [any Error] = []
        endpoint.connect(on: reactor) { Witness() }.whenFailed { failures.append($0) }
        #expect(reactor.turn { !failures.isEmpty })
        let cancelled = endpoint.connect(on: reactor) { Witness() }
        cancelled.whenFailed { failures.append($0) }
        reactor.turn(until: reactor.now)
        cancelled.cancel()
        #expect(
            failures.map { "\($0)" } == [
                "cannot connect to unix:\(path): connection timed out (ETIMEDOUT)",
                "CancellationError()",
            ])
        #expect(reactor.statistics.openHandles == 0 && reactor.statistics.delayedCalls == 0)
        // One that still waits when the reactor ends.
        endpoint.connect(on: reactor) { Witness() }.whenFailed { failures.append($0) }
        reactor.shutDown()
        #expect((failures.last as? IOError)?.code == .canceled && failures.count == 3)
    }

    private func expectInUse(_ reactor: Reactor, _ path: String, line: Int = #line) {
        let place = SourceLocation(fileID: #fileID, filePath: #filePath, line: line, column: 1)
        let error = #expect(throws: IOError.self, sourceLocation: place) {
            try ServerEndpoint.unix(path: path).listen(on: reactor) { nil }
        }
        #expect(
            error.map { "\($0)" }
                == "cannot listen on unix:\(path): address already in use (EADDRINUSE)",
            sourceLocation: place)
    }

    @Test(arguments: backendNames, [0o600, 0o660, 0o777, 0o000] as [UInt16])
    func `the file has its mode when listen returns`(name: String, mode: UInt16) throws {
        let reactor = try Reactor.turned(by: name)
        var endpoint = endpoint("socket")
        endpoint.options.unixMode = mode
        try endpoint.listen(on: reactor) { nil }
        #expect(status(of: folder.file("socket"))!.st_mode & 0o777 == UInt32(mode))
        reactor.shutDown()
    }

    // MARK: Paths that cannot be

    /// Longer by one than what fits; without a byte; with one that the kernel takes for the end.
    @Test(arguments: backendNames)
    func `a path that does not fit is an error, never another path`(name: String) throws {
        let reactor = try Reactor.turned(by: name)
        let prefix = folder.file("")
        let longest = prefix + String(repeating: "x", count: 107 - prefix.utf8.count)
        let cases: [(UnixAddress, ErrorCode)] = [
            (.path(longest + "x"), .nameTooLong), (.path(longest + longest), .nameTooLong),
            (.abstract(Array((longest + "x").utf8)), .nameTooLong),
            (.path(""), .invalidArgument), (.path(prefix + "a\0b"), .invalidArgument),
        ]
        for (address, code) in cases {
            let listening = #expect(throws: IOError.self) {
                try ServerEndpoint.address(.unix(address)).listen(on: reactor) { nil }
            }
            #expect(listening?.code == code && listening?.operation == .listen)
            #expect(listening?.subject == "unix:\(address)")
            var errors: [any Error] = []
            ClientEndpoint.address(.unix(address)).connect(on: reactor) { Witness() }
                .whenFailed { errors.append($0) }
            var binding = ClientEndpoint.unix(path: folder.file("nobody"))
            binding.options.bindAddress = .unix(address)
            binding.connect(on: reactor) { Witness() }.whenFailed { errors.append($0) }
            #expect(reactor.turn { errors.count == 2 })
            #expect(errors.map { ($0 as? IOError)?.code } == [code, code])
            #expect(errors.map { ($0 as? IOError)?.operation } == [.connect, .bind])
        }
        #expect(status(of: longest) == nil && status(of: prefix + "a") == nil)
        let port = try ServerEndpoint.unix(path: longest).listen(on: reactor) { nil }
        #expect(port.localAddress == .unix(.path(longest)))
        reactor.shutDown()
    }

    @Test(arguments: backendNames)
    func `what stands in the way is said, with the path`(name: String) throws {
        let reactor = try Reactor.turned(by: name)
        close(open(folder.file("file"), O_CREAT | O_WRONLY, 0o600))
        leaveStaleFile(folder.file("dead"))
        let listening = [
            ("none/socket", "no such file or directory (ENOENT)"),
            ("file/socket", "not a directory (ENOTDIR)"),
        ]
        for (path, text) in listening {
            let error = #expect(throws: IOError.self) {
                try endpoint(path).listen(on: reactor) { nil }
            }
            #expect(error?.description == "cannot listen on unix:\(folder.file(path)): \(text)")
        }
        let connecting = [
            ("none", "no such file or directory (ENOENT)"),
            ("file", "connection refused (ECONNREFUSED)"),
            ("dead", "connection refused (ECONNREFUSED)"),
        ]
        for (path, text) in connecting {
            var error: (any Error)?
            ClientEndpoint.unix(path: folder.file(path)).connect(on: reactor) { Witness() }
                .whenFailed { error = $0 }
            #expect(reactor.turn { error != nil })
            #expect("\(error!)" == "cannot connect to unix:\(folder.file(path)): \(text)")
        }
        reactor.shutDown()
    }
}
