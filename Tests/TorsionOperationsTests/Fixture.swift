// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

import Glibc
import TestPrograms
import TestedBackends
import Testing
import Torsion

/// Sends back what it reads.
final class Echo: StreamProtocol {
    func dataReceived(_ bytes: RawSpan, from transport: any StreamTransport) {
        transport.write(bytes)
    }
}

/// Notes what happens to it.
final class Client: StreamProtocol {
    var text = ""
    var transport: (any StreamTransport)?
    var loss: ConnectionLoss?
    var onText: (String) -> Void = { _ in }
    var onLoss: () -> Void = {}

    func connectionMade(_ transport: any StreamTransport) { self.transport = transport }

    func dataReceived(_ bytes: RawSpan, from transport: any StreamTransport) {
        text += String(decoding: bytes)
        onText(text)
    }

    func connectionLost(_ why: ConnectionLoss, from transport: any StreamTransport) {
        self.transport = nil
        loss = why
        onLoss()
    }
}

/// A thread of the system.
final class TestThread: Sendable {
    private let handle: pthread_t

    init(_ body: @escaping () -> Void) throws {
        var handle = pthread_t()
        let context = Unmanaged.passRetained(Body(body)).toOpaque()
        let code = pthread_create(
            &handle, nil,
            { context in
                Unmanaged<Body>.fromOpaque(context!).takeRetainedValue().run()
                return nil
            }, context)
        guard code == 0 else { throw CallFailure(call: "pthread_create", code: code) }
        self.handle = handle
    }

    func join() { pthread_join(handle, nil) }

    private final class Body {
        let run: () -> Void
        init(_ run: @escaping () -> Void) { self.run = run }
    }
}

/// Runs a program on a reactor, and expects that it leaves nothing open and reports nothing.
func run(
    on backend: BackendChoice, expecting reports: [String] = [],
    _ body: @escaping (Reactor) throws -> Void
) throws {
    let reactor = Reactor(backend: backend)
    var seen: [String] = []
    try reactor.run(signals: .ignore) { reactor in
        reactor.unhandledError = { seen.append("\($0)") }
        let limit = reactor.callLater(.seconds(20)) {
            Issue.record("the test takes too long")
            reactor.stop(within: .zero)
        }
        reactor.addTrigger(.before, .shutdown) { _ = limit.cancel() }
        try body(reactor)
    }
    #expect(seen == reports)
    #expect(reactor.statistics.openHandles == 0)
    #expect(reactor.statistics.liveTransports == 0)
}

extension Deferred {
    /// Its failure fails the test.
    func orIssue() {
        _ = addErrback { (error) -> Value in
            Issue.record("\(error)")
            throw CancellationError()
        }
    }
}

extension ServerEndpoint {
    /// A port of the loopback interface that the kernel chooses.
    static var anywhere: ServerEndpoint { .tcp(port: 0, interface: .loopback) }
}

/// Calls what an async body must not call itself.
func synchronously(_ body: () throws -> Void) rethrows { try body() }

/// The access mode of a file, -1 if there is none.
func mode(of path: String) -> Int {
    var status = stat()
    return lstat(path, &status) == 0 ? Int(status.st_mode & 0o777) : -1
}

/// The two ends of a pipe, which are the caller's.
func makePipe() throws -> (read: Int32, write: Int32) {
    var ends: [Int32] = [0, 0]
    guard pipe(&ends) == 0 else { throw CallFailure(call: "pipe", code: errno) }
    return (ends[0], ends[1])
}
