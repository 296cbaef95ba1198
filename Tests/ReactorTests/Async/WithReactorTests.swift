// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

import Testing
import Torsion
@_spi(Backend) import TorsionCore

private struct Mishap: Error {}

/// Reactors for a program with an asynchronous `main`.
@Suite struct WithReactorTests {
    @Test(arguments: backendNames)
    func `it serves on threads of its own and returns when the bodies do`(name: String) async throws
    {
        let choice = try BackendChoice.named(name, among: testedBackends)
        let threads = PortNames()
        try await withReactor(count: 2, backend: choice, signals: .ignore) { reactor in
            threads.add(threadName())
            let listener = try ServerEndpoint.tcp(port: 0, interface: .loopback)
                .listen(on: reactor)
            let endpoint = ClientEndpoint.address(listener.localAddress)
            // Which of the two accepts, the kernel chooses: so the greeting is the answer.
            reactor.spawn {
                for try await connection in listener {
                    try await connection.write("hello")
                    connection.close()
                }
            }
            let connection = try await endpoint.connect(on: reactor).value
            let greeting = try await connection.readToEnd(limitBytes: 10)
            #expect(greeting == "hello")
            threads.add(threadName())
        }
        #expect(threads.all.count == 2 && !threads.all.contains(threadName()))
    }

    @Test func `the first error stops all and is thrown`() async {
        let count = Lock(0)
        await #expect(throws: Mishap.self) {
            try await withReactor(count: 2, backend: .epoll, signals: .ignore) { reactor in
                // Not by the reactor's number: other tests make reactors in between.
                let order = count.withLock { count in
                    count += 1
                    return count
                }
                if order == 2 { throw Mishap() }
                try await reactor.sleep(for: .seconds(3_600))
            }
        }
    }

    @Test func `cancelling the task stops the reactors, and a server drains`() async throws {
        let ready = AsyncStream<SocketAddress>.makeStream()
        let service = Task {
            try await withReactor(backend: .libuv, signals: .ignore) { reactor in
                try await ServerEndpoint.tcp(port: 0, interface: .loopback).serve(
                    on: reactor, whenListening: { ready.continuation.yield($0.localAddress) }
                ) { connection in
                    let isToStop = try await connection.readUntilShutdown()
                    try await connection.write(isToStop ? "goodbye" : "you first")
                }
            }
        }
        var iterator = ready.stream.makeAsyncIterator()
        let address = await iterator.next()!
        let farewell = Lock<Bytes?>(nil)
        try await withReactor(backend: .epoll, signals: .ignore) { reactor in
            let connection = try await ClientEndpoint.address(address).connect(on: reactor).value
            try await connection.write("x")
            service.cancel()
            let heard = try await connection.readToEnd(limitBytes: 100)
            farewell.withLock { $0 = heard }
        }
        // Being cancelled is no error of a server that ended as it was asked.
        try await service.value
        #expect(farewell.withLock { $0 } == "goodbye")
    }

    @Test func `a task that is cancelled before it begins runs no server`() async {
        let service = Task {
            withUnsafeCurrentTask { $0?.cancel() }
            try await withReactor(backend: .epoll, signals: .ignore) { reactor in
                try await reactor.sleep(for: .seconds(3_600))
            }
        }
        await #expect(throws: CancellationError.self) { try await service.value }
    }

    // DESIGN 7: what comes from the reactor itself costs no system call
    @Test func `awaiting the reactor's own results wakes nobody`() throws {
        let wakes = CountingWaker()
        let choice = BackendChoice(name: "counting") { CountingBackend(wakes) }
        let reactor = Reactor(backend: choice, services: nil)
        reactor.turn(until: reactor.now)
        var sum = 0
        var isSpawned = false
        reactor.callLater(.zero) {
            isSpawned = true
            reactor.spawn {
                for number in 0..<1_000 {
                    let later = Deferred<Int>(on: reactor)
                    reactor.callLater(.zero) { later.succeed(number) }
                    sum += try await later.value
                    sum += try await Deferred.succeeded(1, on: reactor).value
                }
            }
        }
        while !isSpawned || reactor.statistics.tasks > 0 { reactor.turn(until: reactor.now) }
        #expect(sum == 500_500)
        #expect(wakes.count == 0)
        reactor.shutDown()
    }
}

/// Names that several threads note.
private final class PortNames: Sendable {
    private let names = Lock<Set<String>>([])

    var all: Set<String> { names.withLock { $0 } }

    func add(_ name: String) { names.withLock { _ = $0.insert(name) } }
}
