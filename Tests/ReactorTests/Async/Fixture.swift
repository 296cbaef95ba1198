// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

import Glibc
import Testing
import Torsion

/// What `body` may use besides its reactor.
final class AsyncWorld {
    let reactor: Reactor
    var unhandled: [UnhandledError] = []

    init(_ reactor: Reactor) { self.reactor = reactor }

    /// Serves on a free port, as a task of its own.
    func serve(
        at endpoint: any StreamServerEndpoint = ServerEndpoint.tcp(port: 0, interface: .loopback),
        _ handle: nonisolated(nonsending) @escaping (AsyncConnection) async throws -> Void
    ) async throws -> (server: Deferred<Void>, endpoint: ClientEndpoint) {
        let reactor = reactor
        let address = Deferred<SocketAddress>(on: reactor)
        let server = reactor.spawn {
            try await endpoint.serve(
                on: reactor, whenListening: { address.succeed($0.localAddress) }, handle)
        }
        return (server, .address(try await address.value))
    }
}

/// Runs `body` as a task of a new reactor, stops that, and sees to it that nothing is left.
func runAsync(
    on name: String, _ body: nonisolated(nonsending) @escaping (AsyncWorld) async throws -> Void
) throws {
    let reactor = Reactor(backend: try .named(name, among: testedBackends))
    let world = AsyncWorld(reactor)
    reactor.unhandledError = { [unowned world] in world.unhandled.append($0) }
    var outcome: Result<Void, any Error>?
    try reactor.run(signals: .ignore) { reactor in
        reactor.callLater(.seconds(30)) {
            Issue.record("the body has not ended in thirty seconds")
            reactor.stop(within: .zero)
        }
        reactor.spawn { try await body(world) }.addBoth { result in
            outcome = result
            reactor.stop(within: .zero)
        }
    }
    let figures = reactor.statistics
    #expect(figures.liveTransports == 0 && figures.openHandles == 0)
    #expect(figures.tasks == 0 && figures.suspendedTasks == 0)
    try #require(outcome).get()
}

extension AsyncConnection {
    /// Reads until this end is to stop.
    ///
    /// - Returns: Whether it is; false at the peer's end.
    func readUntilShutdown() async throws -> Bool {
        do {
            while try await read({ _ in }) != nil {}
            return false
        } catch is ShutdownRequested {
            return true
        }
    }
}

/// The number of the calling thread, as the kernel has it: `proc(5)`.
///
/// Not `pthread_self()`, whose value optimised async code keeps across a suspension.
func threadName() -> String {
    var buffer = [UInt8](repeating: 0, count: 128)
    let count = buffer.withUnsafeMutableBytes {
        readlink("/proc/thread-self", $0.baseAddress!.assumingMemoryBound(to: CChar.self), $0.count)
    }
    return String(decoding: buffer[..<max(0, count)], as: UTF8.self)
}

/// Bytes that differ from place to place.
func pattern(_ count: Int) -> Bytes {
    Bytes((0..<count).map { UInt8(truncatingIfNeeded: $0 &* 31 ^ ($0 >> 8)) })
}
