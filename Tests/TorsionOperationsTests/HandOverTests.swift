// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

import Glibc
import Synchronization
import TestPrograms
import TestedBackends
import Testing
import Torsion

/// Listening sockets that go from one server to the next.
@Suite struct HandOverTests: Sendable {
    private let folder = TemporaryFolder()

    /// What several threads note, in order.
    private final class Notes: Sendable {
        private let list = Lock<[String]>([])
        func add(_ note: String) { list.withLock { $0.append(note) } }
        var all: [String] { list.withLock { $0 } }
    }

    /// A server on a thread of its own: answers with its name and what it reads.
    private final class Server {
        let address = Mutex<SocketAddress?>(nil)
        private var thread: TestThread?
        private let remote = Mutex<Remote<Reactor>?>(nil)

        /// Starts it, and returns when it is ready.
        init(
            _ name: String, _ backend: BackendChoice, _ endpoint: HandedOverEndpoint, _ notes: Notes
        ) throws {
            let started = Atomic(false)
            let (ready, finish) = try makePipe()
            defer { close(ready) }
            let ports = Notes()
            thread = try TestThread {
                let reactor = Reactor(backend: backend)
                do {
                    try reactor.run(signals: .ignore) { reactor in
                        reactor.unhandledError = { notes.add("\(name): \($0)") }
                        self.remote.withLock { $0 = reactor.remote }
                        reactor.addTrigger(.after, .startup) { notes.add("\(name) ready") }
                        let port = try endpoint.listen(on: reactor) { Named(name) }
                        ports.add("\(port.localAddress)")
                        reactor.addTrigger(.after, .startup) {
                            started.store(true, ordering: .releasing)
                            close(finish)
                        }
                        reactor.addTrigger(.after, .shutdown) { notes.add("\(name) stopped") }
                    }
                } catch {
                    notes.add("\(name) failed: \(error)")
                    close(finish)
                }
                if reactor.statistics.openHandles > 0 { notes.add("\(name) leaves handles") }
            }
            var byte: UInt8 = 0
            while read(ready, &byte, 1) < 0, errno == EINTR {}
            let isReady = started.load(ordering: .acquiring)
            try #require(isReady, "\(notes.all)")
            if let text = ports.all.first {
                address.withLock { $0 = SocketAddress(text) }
            }
        }

        func join() { thread?.join() }

        func stop() {
            remote.withLock { $0 }?.callFromThread { $0.stop() }
            join()
        }
    }

    private final class Named: StreamProtocol {
        private let name: String
        init(_ name: String) { self.name = name }

        func dataReceived(_ bytes: RawSpan, from transport: any StreamTransport) {
            transport.write("\(name) \(String(decoding: bytes))")
            transport.loseConnection()
        }
    }

    private func ask(_ port: UInt16) throws -> String {
        let client = try Socket(port: port)
        client.write("?")
        return client.readToEnd()
    }

    @Test(arguments: BackendChoice.tested)
    func `the next server takes the socket, and only when it is ready the former one stops`(
        backend: BackendChoice
    ) throws {
        let notes = Notes()
        let endpoint = ServerEndpoint.anywhere.handedOver(by: folder.file("handover"))
        let first = try Server("a", backend, endpoint, notes)
        let address = try #require(first.address.withLock { $0 })
        let port = try #require(address.port)
        #expect(try ask(port) == "a ?")
        let second = try Server("b", backend, endpoint, notes)
        first.join()
        #expect(second.address.withLock { $0 } == address)
        #expect(try ask(port) == "b ?")
        #expect(folder.names == ["handover"])
        // It is handed on once more.
        let third = try Server("c", backend, endpoint, notes)
        second.join()
        #expect(try ask(port) == "c ?")
        third.stop()
        #expect(folder.names == [])
        #expect(
            notes.all.filter { !$0.hasSuffix("ready") } == [
                "a stopped", "b stopped", "c stopped",
            ])
        let order = notes.all
        #expect(
            try #require(order.firstIndex(of: "b ready"))
                < (try #require(order.firstIndex(of: "a stopped"))))
    }

    private func connectRaw() throws -> Int32 {
        let descriptor = socket(AF_UNIX, Int32(SOCK_STREAM.rawValue), 0)
        var address = sockaddr_un()
        address.sun_family = sa_family_t(AF_UNIX)
        withUnsafeMutableBytes(of: &address.sun_path) {
            $0.copyBytes(from: folder.file("handover").utf8)
        }
        let size = socklen_t(MemoryLayout<sockaddr_un>.size)
        let code = withUnsafePointer(to: &address) { pointer in
            pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                connect(descriptor, $0, size)
            }
        }
        guard code == 0 else { throw CallFailure(call: "connect", code: errno) }
        return descriptor
    }

    private func converse(_ text: String, _ descriptor: Int32) throws -> String {
        _ = Array(text.utf8).withUnsafeBytes { write(descriptor, $0.baseAddress, $0.count) }
        var bytes = [UInt8](repeating: 0, count: 100)
        let count = read(descriptor, &bytes, bytes.count)
        return String(decoding: bytes.prefix(max(0, count)), as: UTF8.self)
    }

    @Test(arguments: BackendChoice.tested)
    func `a process that asks and goes without being ready changes nothing`(
        backend: BackendChoice
    ) throws {
        let notes = Notes()
        let endpoint = ServerEndpoint.anywhere.handedOver(
            by: folder.file("handover"), name: "web")
        let server = try Server("a", backend, endpoint, notes)
        let port = try #require(server.address.withLock { $0 }?.port)
        let asking = try connectRaw()
        #expect(try converse("take web\n", asking) == "taken\n")
        #expect(try converse("take nothing of the sort\n", asking) == "none\n")
        close(asking)
        let confused = try connectRaw()
        #expect(try converse("hello\n", confused) == "what?\n")
        close(confused)
        #expect(try ask(port) == "a ?")
        server.stop()
        #expect(notes.all == ["a ready", "a stopped"])
    }

    @Test(arguments: BackendChoice.tested)
    func `a former server that dies meanwhile leaves its port to the next`(
        backend: BackendChoice
    ) throws {
        let endpoint = ServerEndpoint.anywhere.handedOver(by: folder.file("handover"))
        let notes = Notes()
        let former = try Server("a", backend, endpoint, notes)
        let port = try #require(former.address.withLock { $0 }?.port)
        var reports: [String] = []
        var answer = ""
        try Reactor.run(backend: backend, signals: .ignore) { reactor in
            reactor.unhandledError = { reports.append($0.context) }
            try endpoint.listen(on: reactor) { Named("b") }
            // It ends before this one is ready.
            former.stop()
            reactor.addTrigger(.after, .startup) {
                reactor.deferToThread { try self.ask(port) }.addCallback {
                    answer = $0
                    reactor.stop()
                }.orIssue()
                // The next one finds it.
                #expect(self.folder.names == ["handover"])
            }
        }
        #expect(answer == "b ?")
        #expect(reports == [])
        #expect(folder.names == [])
    }

    @Test(arguments: BackendChoice.tested)
    func `a former server that has died is not asked for further ports`(
        backend: BackendChoice
    ) throws {
        let endpoint = ServerEndpoint.anywhere.handedOver(by: folder.file("handover"))
        let web = ServerEndpoint.unix(path: folder.file("web"))
            .handedOver(by: folder.file("handover"))
        let former = try Server("a", backend, endpoint, Notes())
        var names: [String] = []
        try Reactor.run(backend: backend, signals: .ignore) { reactor in
            reactor.unhandledError = { Issue.record("\($0)") }
            try endpoint.listen(on: reactor) { Named("b") }
            former.stop()
            try web.listen(on: reactor) { Named("b") }
            reactor.addTrigger(.after, .startup) {
                names = self.folder.names
                reactor.stop()
            }
        }
        #expect(names == ["handover", "web"])
    }

    @Test(arguments: BackendChoice.tested)
    func `of two new servers the one that is ready last replaces the other`(
        backend: BackendChoice
    ) throws {
        let endpoint = ServerEndpoint.anywhere.handedOver(by: folder.file("handover"))
        let notes = Notes()
        let former = try Server("a", backend, endpoint, notes)
        let port = try #require(former.address.withLock { $0 }?.port)
        var answer = ""
        try Reactor.run(backend: backend, signals: .ignore) { reactor in
            reactor.unhandledError = { Issue.record("\($0)") }
            try endpoint.listen(on: reactor) { Named("c") }
            // It takes the port as well, and is ready first.
            let rival = try Server("b", backend, endpoint, notes)
            former.join()
            reactor.addTrigger(.after, .startup) {
                rival.join()
                reactor.deferToThread { try self.ask(port) }.addCallback {
                    answer = $0
                    reactor.stop()
                }.orIssue()
                #expect(self.folder.names == ["handover"])
            }
        }
        #expect(answer == "c ?")
        #expect(notes.all == ["a ready", "b ready", "a stopped", "b stopped"])
        #expect(folder.names == [])
    }

    @Test(arguments: BackendChoice.tested)
    func `a server hands over once`(backend: BackendChoice) throws {
        let notes = Notes()
        let endpoint = ServerEndpoint.anywhere.handedOver(
            by: folder.file("handover"), name: "web")
        let server = try Server("a", backend, endpoint, notes)
        let next = try [connectRaw(), connectRaw()]
        defer { for descriptor in next { close(descriptor) } }
        for descriptor in next { #expect(try converse("take web\n", descriptor) == "taken\n") }
        for descriptor in next {
            _ = Array("ready\n".utf8).withUnsafeBytes {
                send(descriptor, $0.baseAddress, $0.count, Int32(MSG_NOSIGNAL))
            }
        }
        let answers = next.map { descriptor in
            var bytes = [UInt8](repeating: 0, count: 100)
            let count = read(descriptor, &bytes, bytes.count)
            return String(decoding: bytes.prefix(max(0, count)), as: UTF8.self)
        }
        #expect(answers.sorted() == ["", "stopping\n"])
        server.join()
        #expect(notes.all == ["a ready", "a stopped"])
    }

    private struct Misconfigured: Error {}

    @Test(arguments: BackendChoice.tested)
    func `a server that fails to start leaves the former one alone`(backend: BackendChoice) throws {
        let notes = Notes()
        let endpoint = ServerEndpoint.anywhere.handedOver(by: folder.file("handover"))
        let server = try Server("a", backend, endpoint, notes)
        #expect(throws: Misconfigured.self) {
            try Reactor.run(backend: backend, signals: .ignore) { reactor in
                try endpoint.listen(on: reactor) { Named("b") }
                throw Misconfigured()
            }
        }
        #expect(try ask(try #require(server.address.withLock { $0 }?.port)) == "a ?")
        #expect(folder.names == ["handover"])
        server.stop()
        #expect(notes.all == ["a ready", "a stopped"])
    }

    @Test(arguments: BackendChoice.tested)
    func `the file of a UNIX socket is there all the time, and goes with the last server`(
        backend: BackendChoice
    ) throws {
        let notes = Notes()
        let endpoint = ServerEndpoint.unix(path: folder.file("web"))
            .handedOver(by: folder.file("handover"))
        let first = try Server("a", backend, endpoint, notes)
        let second = try Server("b", backend, endpoint, notes)
        first.join()
        #expect(folder.names == ["handover", "web"])
        second.stop()
        #expect(folder.names == [])
        #expect(notes.all.filter { $0.contains("failed") } == [])
    }

    @Test func `a process that does not answer is no reason to wait for ever`()
        throws
    {
        let path = folder.file("handover")
        let mute = socket(AF_UNIX, Int32(SOCK_STREAM.rawValue), 0)
        var address = sockaddr_un()
        address.sun_family = sa_family_t(AF_UNIX)
        withUnsafeMutableBytes(of: &address.sun_path) { $0.copyBytes(from: path.utf8) }
        let size = socklen_t(MemoryLayout<sockaddr_un>.size)
        _ = withUnsafePointer(to: &address) { pointer in
            pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) { bind(mute, $0, size) }
        }
        try #require(listen(mute, 1) == 0)
        // It ends in the middle of the word.
        let thread = try TestThread {
            let client = accept(mute, nil, nil)
            var bytes = [UInt8](repeating: 0, count: 100)
            _ = read(client, &bytes, bytes.count)
            _ = Array("tak".utf8).withUnsafeBytes { write(client, $0.baseAddress, $0.count) }
            close(client)
        }
        defer {
            thread.join()
            close(mute)
        }
        let error = #expect(throws: IOError.self) {
            try Reactor.run(signals: .ignore) { reactor in
                try ServerEndpoint.anywhere.handedOver(by: path).listen(on: reactor) { Echo() }
            }
        }
        #expect(error?.code == .connectionReset && error?.subject?.hasSuffix(path) == true)
    }
}
