// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

import Glibc
import TestPrograms
import TestedBackends
import Testing
import Torsion
import TorsionTesting

/// Two ends of a pipe, closed with the object unless somebody took them.
private final class PipeEnds {
    private(set) var input: Int32
    private(set) var output: Int32

    init() {
        var ends: [Int32] = [0, 0]
        precondition(pipe(&ends) == 0)
        input = ends[0]
        output = ends[1]
    }

    func takeInput() -> Int32 { defer { input = -1 }; return input }
    func takeOutput() -> Int32 { defer { output = -1 }; return output }

    func type(_ text: String) {
        precondition(write(output, text, text.utf8.count) == text.utf8.count)
    }

    func text() -> String {
        String(
            decoding: [UInt8](unsafeUninitializedCapacity: 65_536) { buffer, count in
                count = max(0, read(input, buffer.baseAddress, buffer.count))
            }, as: UTF8.self)
    }

    deinit { for end in [input, output] where end >= 0 { close(end) } }
}

private func isOpen(_ descriptor: Int32) -> Bool { fcntl(descriptor, F_GETFD) >= 0 }

/// Whether somebody has the other end of a pipe that is written to.
///
/// A number says less: another test may have it by now.
private func hasReader(_ output: Int32) -> Bool {
    var poll = pollfd(fd: output, events: 0, revents: 0)
    return Glibc.poll(&poll, 1, 0) == 0
}

private func isBlocking(_ descriptor: Int32) -> Bool {
    fcntl(descriptor, F_GETFL) & O_NONBLOCK == 0
}

/// The two sides of a terminal without a screen: `pty(7)`.
private func openTerminal() -> (user: Int32, program: Int32) {
    let master = open("/dev/ptmx", O_RDWR | O_NOCTTY | O_CLOEXEC)
    var isLocked: Int32 = 0, number: UInt32 = 0
    precondition(ioctl(master, 0x4004_5431, &isLocked) == 0)
    precondition(ioctl(master, 0x8004_5430, &number) == 0)
    return (master, open("/dev/pts/\(number)", O_RDWR | O_NOCTTY))
}

/// Descriptors that are no sockets as endpoints of both kinds.
@Suite struct DescriptorEndpointTests {
    private let folder = TemporaryFolder()

    private func connect(
        _ text: String, on reactor: Reactor, _ proto: any StreamProtocol
    ) throws {
        try reactor.start()
        try ClientEndpoint(parsing: text).connect(on: reactor) { AnyProtocol(proto) }
            .whenFailed { error in Issue.record(error) }
    }

    @Test(arguments: backendNames)
    func `fd: of a pipe is read, and stays its owner's`(name: String) throws {
        let reactor = try Reactor.turned(by: name)
        let request = PipeEnds(), client = Witness(), server = Witness()
        try connect("fd:\(request.input)", on: reactor, client)
        request.type("one")
        #expect(reactor.turn { client.text == "one" })
        close(request.takeOutput())
        #expect(reactor.turn { client.loss == .closedByPeer })
        #expect(isOpen(request.input) && isBlocking(request.input))

        let second = PipeEnds()
        try ServerEndpoint(parsing: "fd:\(second.input)").listen(on: reactor) { server }
        second.type("two")
        #expect(reactor.turn { server.text == "two" })
        server.transport?.abortConnection()
        #expect(reactor.turn { server.loss != nil })
        #expect(isOpen(second.input))
        reactor.shutDown()
    }

    @Test(arguments: backendNames)
    func `fd: of a pipe is written to, and its reader's end is the loss`(name: String) throws {
        let reactor = try Reactor.turned(by: name)
        let answer = PipeEnds(), client = Witness()
        try connect("fd:\(answer.output)", on: reactor, client)
        #expect(reactor.turn { client.transport != nil })
        client.transport?.write("hello")
        #expect(answer.text() == "hello")
        close(answer.takeInput())
        #expect(reactor.turn { client.loss == .closedByPeer })
        reactor.shutDown()
    }

    @Test(arguments: backendNames)
    func `fd: of a terminal is one connection of both directions`(name: String) throws {
        let reactor = try Reactor.turned(by: name)
        let terminal = openTerminal(), user = Witness()
        try connect("fd:\(terminal.program)", on: reactor, user)
        #expect(reactor.turn { user.transport != nil })
        #expect(write(terminal.user, "typed\n", 6) == 6)
        #expect(reactor.turn { user.text == "typed\n" })
        user.transport?.write("shown")
        var shown = ""
        #expect(
            reactor.turn {
                var bytes = [UInt8](repeating: 0, count: 64)
                let count = read(terminal.user, &bytes, bytes.count)
                shown += String(decoding: bytes.prefix(max(0, count)), as: UTF8.self)
                return shown.hasSuffix("shown")
            })
        #expect(isBlocking(terminal.program))
        // The user's side goes: a hang-up.
        close(terminal.user)
        #expect(reactor.turn { user.loss == .closedByPeer })
        close(terminal.program)
        reactor.shutDown()
    }

    @Test(arguments: backendNames)
    func `pipe: takes two descriptors, and closes them`(name: String) throws {
        let reactor = try Reactor.turned(by: name)
        let request = PipeEnds(), answer = PipeEnds(), peer = Witness()
        let (input, output) = (request.takeInput(), answer.takeOutput())
        try ServerEndpoint(parsing: "pipe:\(input):\(output)").listen(on: reactor) { peer }
        request.type("question")
        #expect(reactor.turn { peer.text == "question" })
        peer.transport?.write("answer")
        peer.transport?.loseConnection()
        #expect(reactor.turn { peer.loss == .closedLocally })
        #expect(answer.text() == "answer")
        #expect(answer.text() == "", "the reader sees the end")
        #expect(!hasReader(request.output))
        reactor.shutDown()
    }

    @Test(arguments: backendNames)
    func `pipe: has one direction, if it names one`(name: String) throws {
        let reactor = try Reactor.turned(by: name)
        let request = PipeEnds(), answer = PipeEnds(), reader = Witness(), writer = Witness()
        try connect("pipe:input=\(request.takeInput())", on: reactor, reader)
        try connect("pipe:output=\(answer.takeOutput())", on: reactor, writer)
        #expect(reactor.turn { reader.transport != nil && writer.transport != nil })
        request.type("in")
        writer.transport?.write("out")
        #expect(reactor.turn { reader.text == "in" })
        #expect(answer.text() == "out")
        reader.transport?.write("nowhere")
        #expect(reactor.turn { reader.loss != nil })
        guard case .failed(let error) = reader.loss else {
            Issue.record("\(reader.loss!)")
            return
        }
        #expect(error.code == .brokenPipe)
        close(answer.takeInput())
        #expect(reactor.turn { writer.loss == .closedByPeer })
        reactor.shutDown()
    }

    @Test(arguments: backendNames)
    func `a connect that is cancelled closes what pipe: took`(name: String) throws {
        let reactor = try Reactor.turned(by: name)
        try reactor.start()
        let request = PipeEnds()
        let input = request.takeInput()
        let deferred = ClientEndpoint.open(input: input, output: nil)
            .connect(on: reactor) { Witness() }
        deferred.whenFailed { _ in }
        deferred.cancel()
        #expect(reactor.turn { !hasReader(request.output) })
        #expect(reactor.statistics.openHandles == 0)
        reactor.shutDown()
    }

    @Test(arguments: backendNames)
    func `a run that ends before its first turn closes what was opened`(name: String) throws {
        let reactor = try Reactor.turned(by: name)
        let request = PipeEnds(), answer = PipeEnds()
        let input = request.takeInput()
        try ServerEndpoint.open(input: input, output: nil).listen(on: reactor) { Witness() }
        try ServerEndpoint.adopted(descriptor: answer.output).listen(on: reactor) { Witness() }
        ClientEndpoint.adopted(descriptor: answer.input).connect(on: reactor) { Witness() }
            .whenFailed { _ in }
        reactor.shutDown()
        #expect(!hasReader(request.output) && isOpen(answer.input) && isOpen(answer.output))
    }

    @Test(arguments: backendNames)
    func `a file is read to its end and written to, each from its offset`(name: String) throws {
        let reactor = try Reactor.turned(by: name)
        let file = open(folder.file("notes", "one two"), O_RDWR)
        lseek(file, 4, SEEK_SET)
        let reader = Witness()
        try connect("fd:\(file)", on: reactor, reader)
        #expect(reactor.turn { reader.loss == .closedByPeer })
        #expect(reader.text == "two")
        let writer = Witness()
        let end = open(folder.file("notes"), O_WRONLY | O_APPEND)
        try connect("fd:\(end)", on: reactor, writer)
        #expect(reactor.turn { writer.transport != nil })
        writer.transport?.write(" three")
        writer.transport?.loseConnection()
        #expect(reactor.turn { writer.loss == .closedLocally })
        var bytes = [UInt8](repeating: 0, count: 64)
        let count = pread(file, &bytes, bytes.count, 0)
        #expect(String(decoding: bytes.prefix(count), as: UTF8.self) == "one two three")
        #expect(isBlocking(file) && isBlocking(end))
        close(file)
        close(end)
        reactor.shutDown()
    }

    @Test(arguments: backendNames)
    func `/dev/null is an empty peer, and takes everything`(name: String) throws {
        let reactor = try Reactor.turned(by: name)
        let null = open("/dev/null", O_RDWR), peer = Witness()
        try connect("fd:\(null)", on: reactor, peer)
        #expect(reactor.turn { peer.loss == .closedByPeer })
        let sink = open("/dev/null", O_WRONLY), writer = Witness()
        try connect("fd:\(sink)", on: reactor, writer)
        #expect(reactor.turn { writer.transport != nil }, "\(String(describing: writer.loss))")
        writer.transport?.write(String(repeating: "x", count: 1_000_000))
        writer.transport?.loseConnection()
        #expect(reactor.turn { writer.loss == .closedLocally })
        close(null)
        close(sink)
        reactor.shutDown()
    }

    @Test(arguments: backendNames)
    func `a FIFO waits for its writer, and ends with the last of them`(name: String) throws {
        let reactor = try Reactor.turned(by: name)
        let path = folder.file("fifo")
        #expect(mkfifo(path, 0o600) == 0)
        // Without a reader it cannot be opened for writing: fifo(7).
        #expect(open(path, O_WRONLY | O_NONBLOCK | O_CLOEXEC) < 0 && errno == ENXIO)
        let end = open(path, O_RDONLY | O_NONBLOCK), peer = Witness()
        try connect("fd:\(end)", on: reactor, peer)
        #expect(reactor.turn { peer.transport != nil || peer.loss != nil })
        let writer = open(path, O_WRONLY | O_NONBLOCK | O_CLOEXEC)
        if writer >= 0, peer.loss == nil {
            #expect(write(writer, "late", 4) == 4)
            #expect(reactor.turn { peer.text == "late" })
        }
        close(writer)
        #expect(reactor.turn { peer.loss == .closedByPeer })
        close(end)
        reactor.shutDown()
    }

    @Test(arguments: backendNames)
    func `what is no socket is called by its number and kind`(name: String) throws {
        let reactor = try Reactor.turned(by: name)
        try reactor.start()
        let request = PipeEnds(), answer = PipeEnds()
        let file = open(folder.file("notes", "x"), O_RDONLY), null = open("/dev/null", O_RDWR)
        let terminal = openTerminal()
        for (endpoint, name) in [
            (ServerEndpoint.adopted(descriptor: answer.input), "fd:\(answer.input) (a pipe)"),
            (.adopted(descriptor: file), "fd:\(file) (a file)"),
            (.adopted(descriptor: null), "fd:\(null) (a device)"),
            (.adopted(descriptor: terminal.program), "fd:\(terminal.program) (a terminal)"),
            (
                .open(input: request.input, output: answer.output),
                "pipe:\(request.input):\(answer.output)"
            ),
        ] {
            let port = try endpoint.listen(on: reactor) { Witness() }
            #expect("\(port.localAddress)" == name)
        }
        _ = (request.takeInput(), answer.takeOutput())
        reactor.shutDown()
        for descriptor in [file, null, terminal.user, terminal.program] { close(descriptor) }
    }

    @Test(arguments: backendNames)
    func `an error of what is no socket names it as the caller does`(name: String) throws {
        let reactor = try Reactor.turned(by: name)
        let request = PipeEnds(), full = open("/dev/full", O_WRONLY)
        let other = PipeEnds()
        let input = other.takeInput()
        for (endpoint, subject) in [
            (ClientEndpoint.adopted(descriptor: request.input), "fd:\(request.input) (a pipe)"),
            (.adopted(descriptor: full), "fd:\(full) (a device)"),
            (.open(input: input, output: nil), "pipe:input=\(input)"),
        ] {
            let peer = Witness()
            endpoint.connect(on: reactor) { peer }.whenFailed { Issue.record($0) }
            #expect(reactor.turn { peer.transport != nil })
            peer.transport?.write("x")
            #expect(reactor.turn { peer.loss != nil })
            #expect("\(peer.loss!)".hasPrefix("cannot write to \(subject): "), "\(peer.loss!)")
        }
        close(full)
        reactor.shutDown()
    }

    @Test(arguments: backendNames)
    func `a text names what was inherited, not what this process has opened itself`(
        name: String
    ) throws {
        let reactor = try Reactor.turned(by: name)
        try reactor.start()
        let ends = PipeEnds()
        for end in [ends.input, ends.output] { _ = fcntl(end, F_SETFD, FD_CLOEXEC) }
        func sentence(_ number: Int32) -> String {
            "cannot open descriptor \(number), which this process has opened itself and not"
                + " inherited: bad file descriptor (EBADF)"
        }
        var sentences: [String] = []
        for text in ["fd:\(ends.input)", "pipe:\(ends.input):\(ends.output)"] {
            #expect(
                refusal { try ServerEndpoint(parsing: text).listen(on: reactor) { Witness() } }
                    == sentence(ends.input))
            try ClientEndpoint(parsing: text).connect(on: reactor) { Witness() }
                .whenFailed { sentences.append("\($0)") }
        }
        #expect(reactor.turn { sentences.count == 2 })
        #expect(sentences == Array(repeating: sentence(ends.input), count: 2))
        #expect(
            refusal {
                try DatagramEndpoint(parsing: "fd:\(ends.input)").listen(on: reactor) { Mute() }
            } == sentence(ends.input))
        #expect(isOpen(ends.input) && isOpen(ends.output))
        // A value may name any: whoever makes one has it.
        let peer = Witness()
        try ServerEndpoint.adopted(descriptor: ends.input).listen(on: reactor) { peer }
        ends.type("own")
        #expect(reactor.turn { peer.text == "own" })
        // Both are the same endpoint all the same.
        #expect(try ServerEndpoint(parsing: "fd:7") == .adopted(descriptor: 7))
        #expect(try ClientEndpoint(parsing: "pipe:7:8") == .open(input: 7, output: 8))
        reactor.shutDown()
    }

    private final class Mute: DatagramProtocol {
        func datagramReceived(
            _ bytes: RawSpan, from address: SocketAddress, on transport: any DatagramTransport
        ) {}
    }

    /// What the system's error says.
    private func refusal(_ body: () throws -> Void) -> String {
        do { try body() } catch { return "\(error)" }
        return "none"
    }

    @Test(arguments: backendNames)
    func `what cannot be used is refused with a sentence, and stays its owner's`(
        name: String
    ) throws {
        let reactor = try Reactor.turned(by: name)
        try reactor.start()
        let ends = PipeEnds()
        let place = open(folder.path, O_RDONLY | O_DIRECTORY)
        func listen(_ text: String) -> String {
            refusal {
                try ServerEndpoint(parsing: text).listen(on: reactor) { Witness() }
            }
        }
        #expect(listen("fd:\(place)") == "cannot open descriptor \(place): is a directory (EISDIR)")
        #expect(listen("fd:19999") == "cannot open descriptor 19999: bad file descriptor (EBADF)")
        #expect(
            listen("pipe:\(ends.output):\(ends.input)")
                == "cannot open descriptor \(ends.output), which is not open for reading:"
                + " bad file descriptor (EBADF)")
        #expect(
            listen("pipe:output=\(ends.input)")
                == "cannot open descriptor \(ends.input), which is not open for writing:"
                + " bad file descriptor (EBADF)")
        #expect(
            listen("pipe:\(ends.input):19999")
                == "cannot open descriptor 19999: bad file descriptor (EBADF)")
        #expect(isOpen(ends.input) && isOpen(ends.output) && isOpen(place))
        #expect(isBlocking(ends.input) && isBlocking(ends.output))
        #expect(reactor.statistics.openHandles == 0)
        close(place)
        reactor.shutDown()
    }

    @Test(arguments: backendNames)
    func `bulk through a pair of pipes arrives whole, though nobody hurries`(name: String) throws {
        let reactor = try Reactor.turned(by: name)
        let way = PipeEnds(), writer = Witness(), reader = Witness()
        try connect("pipe:output=\(way.takeOutput())", on: reactor, writer)
        try connect("pipe:input=\(way.takeInput())", on: reactor, reader)
        #expect(reactor.turn { writer.transport != nil && reader.transport != nil })
        let text = String(repeating: "0123456789abcdef", count: 100_000)
        reader.transport?.pauseProducing()
        writer.transport?.write(text)
        writer.transport?.loseConnection()
        reactor.callLater(.milliseconds(5)) { reader.transport?.resumeProducing() }
        #expect(reactor.turn { reader.loss == .closedByPeer })
        #expect(writer.loss == .closedLocally && reader.text == text)
        reactor.shutDown()
    }
}

/// One that is held by its existential.
private final class AnyProtocol: StreamProtocol {
    private let inner: any StreamProtocol
    init(_ inner: any StreamProtocol) { self.inner = inner }

    func connectionMade(_ transport: any StreamTransport) throws {
        try inner.connectionMade(transport)
    }
    func dataReceived(_ bytes: RawSpan, from transport: any StreamTransport) throws {
        try inner.dataReceived(bytes, from: transport)
    }
    func connectionLost(_ why: ConnectionLoss, from transport: any StreamTransport) {
        inner.connectionLost(why, from: transport)
    }
}

/// What can be changed of a connection while it is open.
@Suite struct SocketOptionTests {
    private func connected(
        _ reactor: Reactor, _ place: String
    ) throws -> (client: Witness, server: Witness) {
        let client = Witness(), server = Witness()
        let port = try ServerEndpoint(parsing: place).listen(on: reactor) { server }
        ClientEndpoint.address(port.localAddress).connect(on: reactor) { client }
            .whenFailed { error in Issue.record(error) }
        #expect(reactor.turn { client.transport != nil && server.transport != nil })
        port.stopListening()
        return (client, server)
    }

    private func finish(_ reactor: Reactor, _ client: Witness, _ server: Witness) {
        client.transport?.abortConnection()
        #expect(reactor.turn { client.loss != nil && server.loss != nil })
        reactor.shutDown()
    }

    @Test(arguments: backendNames)
    func `the options of a TCP connection are read and changed`(name: String) throws {
        let reactor = try Reactor.turned(by: name)
        let (client, server) = try connected(reactor, "tcp:0:interface=127.0.0.1")
        let transport = try #require(client.transport)
        var options = try transport.options
        #expect(options.noDelay)
        #expect(options.keepAlive == StreamOptions.KeepAlive())
        #expect(options.receiveBufferBytes > 0 && options.sendBufferBytes > 0)
        options.noDelay = false
        options.keepAlive = StreamOptions.KeepAlive(
            idle: .seconds(7), interval: .seconds(3), count: 5)
        options.receiveBufferBytes = 20_000
        options.sendBufferBytes = 30_000
        try transport.setOptions(options)
        #expect(try transport.options == options)
        options.keepAlive = nil
        options.noDelay = true
        try transport.setOptions(options)
        #expect(try transport.options == options)
        let asked: Int32? = transport.withDescriptor { descriptor in
            var value: Int32 = 0, size = socklen_t(4)
            getsockopt(descriptor, SOL_SOCKET, SO_KEEPALIVE, &value, &size)
            return value
        }
        #expect(asked == 0)
        finish(reactor, client, server)
    }

    @Test(arguments: backendNames)
    func `what is set to what it was changes nothing in the kernel`(name: String) throws {
        let reactor = try Reactor.turned(by: name)
        let (client, server) = try connected(reactor, "tcp:0:interface=127.0.0.1")
        let transport = try #require(client.transport)
        let before = try transport.options
        try transport.setOptions(before)
        #expect(try transport.options == before)
        // A buffer that was set is locked, and no longer adapted: SO_BUF_LOCK, 72.
        let lock: Int32? = transport.withDescriptor { descriptor in
            var value: Int32 = -1, size = socklen_t(4)
            return getsockopt(descriptor, SOL_SOCKET, 72, &value, &size) == 0 ? value : 0
        }
        #expect(lock == 0)
        finish(reactor, client, server)
    }

    @Test(arguments: backendNames)
    func `a UNIX socket has buffers, and a pipe has no options`(name: String) throws {
        let reactor = try Reactor.turned(by: name)
        let folder = TemporaryFolder()
        let (client, server) = try connected(reactor, "unix:\(folder.file("socket"))")
        let transport = try #require(client.transport)
        var options = try transport.options
        #expect(!options.noDelay && options.keepAlive == nil)
        options.sendBufferBytes = 40_000
        options.noDelay = true
        try transport.setOptions(options)
        #expect(try transport.options.sendBufferBytes == 40_000)
        let ends = PipeEnds(), peer = Witness()
        ClientEndpoint.adopted(descriptor: ends.input).connect(on: reactor) { peer }
            .whenFailed { error in Issue.record(error) }
        #expect(reactor.turn { peer.transport != nil })
        let pipe = try #require(peer.transport)
        let error = #expect(throws: IOError.self) { try pipe.options }
        #expect(error?.operation == .configure && error?.code == .notSupported)
        var status = stat()
        #expect(pipe.withDescriptor { fstat($0, &status) } == 0)
        #expect(status.st_mode & S_IFMT == S_IFIFO)
        close(ends.takeOutput())
        #expect(reactor.turn { peer.loss != nil })
        #expect(pipe.withDescriptor { $0 } == nil)
        finish(reactor, client, server)
        let lost = #expect(throws: IOError.self) { try transport.options }
        #expect(lost?.code == .notConnected)
        #expect(transport.withDescriptor { $0 } == nil)
    }

    @Test func `below a filter they are the socket's`() throws {
        final class Plain: StreamFilter {
            override func receive(_ bytes: RawSpan) { deliver(bytes) }
            override func transmit(_ bytes: RawSpan) -> Int { send(bytes); return bytes.byteCount }
        }
        let reactor = try Reactor.turned(by: "epoll")
        let client = Witness(), server = Witness()
        let port = try ServerEndpoint(parsing: "tcp:0:interface=127.0.0.1")
            .listen(on: reactor) { server }
        ClientEndpoint.address(port.localAddress).filtered { Plain() }
            .connect(on: reactor) { client }.whenFailed { error in Issue.record(error) }
        #expect(reactor.turn { client.transport != nil && server.transport != nil })
        let transport = try #require(client.transport)
        var options = try transport.options
        options.noDelay = false
        try transport.setOptions(options)
        #expect(try !transport.options.noDelay)
        #expect((transport.withDescriptor { $0 } ?? -1) > 2)
        port.stopListening()
        finish(reactor, client, server)
    }

    @Test func `a simulated connection keeps what is set, and has no descriptor`() throws {
        try simulate("options", seeds: 1...3) { world in
            let client = world.host("client"), server = world.host("server")
            let peer = Witness(), other = Witness()
            var isRefused = false
            try server.run { reactor in
                try ServerEndpoint.tcp(port: 80).listen(on: reactor) { other }
            }
            try client.run { reactor in
                ClientEndpoint.tcp(host: "server", port: 80).connect(on: reactor) { peer }
                    .whenFailed { _ in isRefused = true }
            }
            try world.run { peer.transport != nil || peer.loss != nil || isRefused }
            guard let transport = peer.transport else { return }
            var options = try transport.options
            options.noDelay.toggle()
            try transport.setOptions(options)
            #expect(try transport.options == options)
            #expect(transport.withDescriptor { $0 } == nil)
        }
    }
}
