// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

#if IOUring

import CTorsionURing
import Testing
@_spi(Backend) import TorsionCore
import TorsionSockets

@testable import TorsionURing

/// What the kernel may answer instead of a client: SEMANTICS S15, FAULTS section 3.
@Suite struct URingAcceptTests {
    private final class Handle: ListenerReceiver {
        private(set) var failures: [ErrorCode] = []
        private(set) var clientCount = 0
        func listenerDidAccept(_ stream: any BackendStream) {
            clientCount += 1
            stream.close()
        }
        func listenerDidFail(_ code: ErrorCode) { failures.append(code) }
    }

    private let backend = URingBackend()
    private let handle = Handle()

    private func listener() throws -> URingListener {
        try backend.start()
        let listener = try URingListener(
            backend: backend, address: .ipv4(.loopback, port: 0), options: StreamOptions(),
            receiver: handle)
        listener.startAccepting()
        return listener
    }

    // S15
    @Test(arguments: [24, 23, 12, 105] as [Int32])  // EMFILE, ENFILE, ENOMEM, ENOBUFS
    func `a shortage is told at once`(number: Int32) throws {
        let listener = try listener()
        listener.failed(ErrorCode(errno: number))
        #expect(handle.failures.count == 1)
        listener.close()
        backend.shutDown()
    }

    // S15
    @Test(arguments: [103, 71, 1, 100] as [Int32])  // ECONNABORTED, EPROTO, EPERM, ENETDOWN
    func `an error of one client is skipped, endless ones are told`(number: Int32) throws {
        let listener = try listener()
        for _ in 0..<63 { listener.failed(ErrorCode(errno: number)) }
        #expect(handle.failures.isEmpty)
        listener.failed(ErrorCode(errno: number))
        #expect(handle.failures.count == 1)
        listener.close()
        backend.shutDown()
    }

    // S15
    @Test func `a client who comes after a stop waits for the next start`() throws {
        let listener = try listener()
        try backend.turn(until: backend.now)
        listener.stopAccepting()
        let far = End()
        // The kernel's operation was not told yet: it takes the client.
        far.stream = try backend.connect(
            to: listener.localAddress, options: StreamOptions(), receiver: far)
        let end = backend.now.advanced(by: .seconds(20))
        while !far.isConnected, backend.now < end { try backend.turn(until: end) }
        for _ in 0..<3 { try backend.turn(until: backend.now) }
        #expect(handle.clientCount == 0)
        listener.startAccepting()
        while handle.clientCount == 0, backend.now < end { try backend.turn(until: end) }
        #expect(handle.clientCount == 1)
        far.stream.close()
        listener.close()
        backend.shutDown()
    }
}

#endif
