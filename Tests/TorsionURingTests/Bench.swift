// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

#if IOUring

import Testing
@_spi(Backend) import TorsionCore
import TorsionTesting

@testable import TorsionURing

/// The backend over a ring that is set up in another way than usual.
struct RingUnderTest: CustomStringConvertible, Sendable {
    let description: String
    let configuration: Ring.Configuration

    init(_ description: String, _ change: (inout Ring.Configuration) -> Void) {
        self.description = description
        var configuration = Ring.Configuration()
        change(&configuration)
        self.configuration = configuration
    }

    var choice: BackendChoice {
        let configuration = configuration
        return BackendChoice(name: "io_uring \(description)") { URingBackend(configuration) }
    }
}

/// A backend that a test turns by hand, below the core, and what is open on it.
final class Bench {
    let backend: URingBackend
    let listener: any BackendListener
    private let handle = Handle()

    init(_ change: (inout Ring.Configuration) -> Void = { _ in }) throws {
        var configuration = Ring.Configuration()
        change(&configuration)
        backend = URingBackend(configuration)
        try backend.start()
        var options = StreamOptions()
        options.sendBufferBytes = 4_096
        listener = try backend.listen(
            on: .ipv4(.loopback, port: 0), options: options, receiver: handle)
        listener.startAccepting()
    }

    /// Ends it, and checks that nothing is left.
    func finish() throws {
        listener.close()
        try run { backend.openHandleCount == 0 }
        backend.shutDown()
        #expect(backend.ring.operationCount == 0)
    }

    func turn() {
        #expect(throws: Never.self) {
            try backend.turn(until: backend.now.advanced(by: .milliseconds(1)))
        }
    }

    /// Turns until the condition holds, and looks at it every `interval`: for what the kernel tells
    /// nobody of.
    func run(
        lookingEvery interval: Duration = .seconds(20),
        _ location: SourceLocation = #_sourceLocation, until condition: () -> Bool
    ) throws {
        let end = backend.now.advanced(by: .seconds(20))
        while !condition() {
            try #require(backend.now < end, "not in time", sourceLocation: location)
            try backend.turn(until: min(end, backend.now.advanced(by: interval)))
        }
    }

    /// A connection; its near end was accepted, and has a small send buffer.
    func connectedPair() throws -> (near: End, far: End) {
        let far = End()
        var options = StreamOptions()
        options.receiveBufferBytes = 4_096
        far.stream = try backend.connect(
            to: listener.localAddress, options: options, receiver: far)
        let count = handle.accepted.count
        try run { far.isConnected && handle.accepted.count > count }
        let near = End()
        near.stream = handle.accepted.removeLast()
        near.stream.deliver(to: near)
        return (near, far)
    }

    private final class Handle: ListenerReceiver {
        var accepted: [any BackendStream] = []
        func listenerDidAccept(_ stream: any BackendStream) { accepted.append(stream) }
        func listenerDidFail(_ code: ErrorCode) { Issue.record("accepting failed: \(code)") }
    }
}

/// One end of a connection, which notes what its stream tells.
final class End: StreamReceiver {
    var stream: (any BackendStream)!
    private(set) var isConnected = false
    private(set) var received: [UInt8] = []
    private(set) var hasEnded = false
    private(set) var failure: IOError?
    var onRead: () -> Void = {}

    func streamDidConnect() { isConnected = true }

    func streamDidRead(_ bytes: RawSpan) {
        received += bytes
        onRead()
    }

    func streamDidReadEnd() { hasEnded = true }

    func streamDidWrite(byteCount: Int) { Issue.record("nothing was queued") }

    func streamDidFail(_ error: any Error) { failure = error as? IOError }

    /// - Returns: How many bytes count as written.
    @discardableResult
    func write(_ bytes: [UInt8]) -> Int {
        guard case .wrote(let count) = bytes.withUnsafeBytes({ stream.tryWrite($0) }) else {
            return -1
        }
        return count
    }

    /// Writes until no more is taken.
    ///
    /// - Returns: What counts as written.
    func fill(_ bench: Bench, pieceByteCount: Int = 1_000) -> [UInt8] {
        var sent: [UInt8] = []
        while true {
            let piece = [UInt8].pattern(count: pieceByteCount, seed: UInt64(sent.count))
            let count = write(piece)
            guard count > 0 else { return sent }
            sent += piece[..<count]
            bench.turn()
        }
    }
}

#endif
