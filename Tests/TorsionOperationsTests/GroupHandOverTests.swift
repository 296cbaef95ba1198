// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

import Glibc
import Synchronization
import TestPrograms
import TestedBackends
import Testing
import Torsion

/// Listening sockets that go from one group of reactors to the next.
@Suite struct GroupHandOverTests: Sendable {
    private let folder = TemporaryFolder()

    /// A server of several reactors, each of which answers with the server's name.
    private final class Server: Sendable {
        private struct State {
            var remote: Remote<Reactor>?
            var addresses: Set<SocketAddress> = []
            var failures: [String] = []
        }

        let name: String
        private let state = Mutex(State())
        private let thread = Mutex<TestThread?>(nil)

        var addresses: Set<SocketAddress> { state.withLock { $0.addresses } }
        var failures: [String] { state.withLock { $0.failures } }

        /// Starts it, and returns when all its reactors are ready.
        init(
            _ name: String, count: Int, _ backend: BackendChoice, _ endpoints: [HandedOverEndpoint]
        ) throws {
            self.name = name
            let (ready, finish) = try makePipe()
            defer { close(ready) }
            let started = try TestThread {
                do {
                    try ReactorGroup.run(count: count, backend: backend, signals: .ignore) {
                        try self.begin($0, endpoints, finish)
                    }
                } catch {
                    self.note("\(error)")
                }
                close(finish)
            }
            thread.withLock { $0 = started }
            var byte: UInt8 = 0
            for _ in 0..<count {
                try #require(read(ready, &byte, 1) == 1, "\(failures)")
            }
        }

        private func note(_ failure: String) { state.withLock { $0.failures.append(failure) } }

        private func begin(
            _ reactor: Reactor, _ endpoints: [HandedOverEndpoint], _ finish: Int32
        ) throws {
            reactor.unhandledError = { self.note("\($0)") }
            let remote = reactor.remote
            state.withLock { $0.remote = remote }
            for endpoint in endpoints {
                let port = try endpoint.listen(on: reactor) { Named(self.name) }
                state.withLock { _ = $0.addresses.insert(port.localAddress) }
            }
            reactor.addTrigger(.after, .startup) {
                var byte: UInt8 = 1
                _ = write(finish, &byte, 1)
            }
        }

        func join() { thread.withLock { $0 }?.join() }

        func stop() {
            state.withLock { $0.remote }?.callFromThread { $0.stop() }
            join()
        }
    }

    private final class Named: StreamProtocol {
        private let name: String
        init(_ name: String) { self.name = name }

        func dataReceived(_ bytes: RawSpan, from transport: any StreamTransport) {
            transport.write(name)
            transport.loseConnection()
        }
    }

    /// Asks without a pause until it is over, and notes what answers.
    private final class Load: Sendable {
        private let isOver = Atomic(false)
        private let answers = Mutex<[String: Int]>([:])
        private let thread = Mutex<TestThread?>(nil)

        init(_ port: UInt16) throws {
            let started = try TestThread {
                while !self.isOver.load(ordering: .relaxed) {
                    let answer = (try? ask(port)) ?? "refused"
                    self.answers.withLock { $0[answer, default: 0] += 1 }
                }
            }
            thread.withLock { $0 = started }
        }

        func end() -> [String: Int] {
            isOver.store(true, ordering: .relaxed)
            thread.withLock { $0 }?.join()
            return answers.withLock { $0 }
        }
    }

    @Test(arguments: BackendChoice.tested)
    func `a group hands its ports to a group of another size, and no client is refused`(
        backend: BackendChoice
    ) throws {
        let path = folder.file("handover")
        let endpoints = [
            ServerEndpoint.anywhere.handedOver(by: path, name: "web"),
            ServerEndpoint.unix(path: folder.file("local")).handedOver(by: path),
        ]
        var server = try Server("1", count: 1, backend, endpoints)
        let addresses = server.addresses
        let port = try #require(addresses.compactMap(\.port).first)
        let load = try Load(port)
        for (name, count) in [("2", 3), ("3", 2), ("4", 1), ("5", 2)] {
            #expect(try ask(port) == server.name)
            let next = try Server(name, count: count, backend, endpoints)
            // Nobody tells it but the next one.
            server.join()
            #expect(server.failures == [])
            #expect(next.addresses == addresses)
            #expect(folder.names == ["handover", "local"])
            server = next
        }
        #expect(try ask(port) == "5")
        let answers = load.end()
        #expect(Set(answers.keys).isSubset(of: ["1", "2", "3", "4", "5"]), "\(answers)")
        server.stop()
        #expect(server.failures == [])
        #expect(folder.names == [])
    }

    private struct Misconfigured: Error {}

    @Test(arguments: BackendChoice.tested)
    func `a group of which one fails to start leaves the former one alone`(
        backend: BackendChoice
    ) throws {
        let endpoint = ServerEndpoint.anywhere.handedOver(by: folder.file("handover"))
        let server = try Server("a", count: 2, backend, [endpoint])
        let count = Atomic(0)
        #expect(throws: Misconfigured.self) {
            try ReactorGroup.run(count: 3, backend: backend, signals: .ignore) { reactor in
                try endpoint.listen(on: reactor) { Named("b") }
                let order = count.add(1, ordering: .relaxed).newValue
                if order == 3 { throw Misconfigured() }
            }
        }
        #expect(try ask(try #require(server.addresses.first?.port)) == "a")
        #expect(folder.names == ["handover"])
        server.stop()
        #expect(server.failures == [])
    }
}

private func ask(_ port: UInt16) throws -> String {
    let client = try Socket(port: port)
    client.write("?")
    return client.readToEnd()
}
