// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

extension DatagramEndpoint {
    /// Opens the port, and gives its datagrams as a sequence.
    ///
    ///     let port = try endpoint.listen(on: reactor)
    ///     for try await datagram in port {
    ///         try port.write(datagram.bytes, to: datagram.address)
    ///     }
    ///
    /// - Parameter reactor: The calling task's.
    /// - Returns: The port, which is open.
    /// - Throws: ``IOError`` that names the place and the cause.
    public func listen(on reactor: Reactor) throws -> AsyncDatagramPort {
        let inbox = AsyncDatagramPort.Inbox(on: reactor)
        return AsyncDatagramPort(inbox, try listen(on: reactor) { inbox })
    }
}

/// A port whose datagrams a task takes, one by one.
///
/// While 64 wait to be taken the port does not read: further ones wait in the kernel's buffer, and are
/// dropped there when that is full, as datagrams are. The port closes by ``close()``, when the last
/// reference goes, or with the reactor; then the sequence ends, behind what has arrived. One task
/// takes at a time, any number writes.
public final class AsyncDatagramPort: AsyncSequence {
    /// One that arrived, whole.
    public struct Datagram: Sendable {
        /// Any number of bytes; may be empty.
        public let bytes: Bytes
        /// The sender.
        public let address: SocketAddress
    }

    /// One that arrived.
    public typealias Element = Datagram

    private let inbox: Inbox
    private let port: DatagramPort

    fileprivate init(_ inbox: Inbox, _ port: DatagramPort) {
        self.inbox = inbox
        self.port = port
    }

    deinit { port.stopListening() }

    /// Where it is bound, with the port that the kernel chose.
    public var localAddress: SocketAddress { port.localAddress }

    /// The transport below, to write to, to connect, to join groups.
    ///
    /// - Returns: Nil when the port has closed.
    public var transport: (any DatagramTransport)? { inbox.transport }

    /// Sends a datagram, and returns at once; a call after the port has closed is ignored.
    ///
    /// - Parameters:
    ///   - bytes: Any number of bytes.
    ///   - address: The receiver.
    /// - Throws: ``IOError``, as ``DatagramTransport/write(_:to:)`` does.
    public func write(_ bytes: Bytes, to address: SocketAddress) throws(IOError) {
        try inbox.transport?.write(bytes.span, to: address)
    }

    /// Closes the port; a loop ends behind what has arrived.
    public func close() { port.stopListening() }

    /// Takes datagrams from now on.
    public func makeAsyncIterator() -> Iterator { Iterator(inbox: inbox) }

    /// Takes a datagram when it is asked.
    public struct Iterator: AsyncIteratorProtocol {
        fileprivate let inbox: Inbox

        /// Waits for the next datagram.
        ///
        /// - Returns: Nil when the port has closed.
        /// - Throws: `CancellationError`, which leaves datagrams queued; ``ReactorStopped``.
        public mutating func next() async throws -> Datagram? { try await inbox.next() }

        /// Waits for the next datagram.
        ///
        /// - Parameter actor: The caller's; leave it out.
        /// - Returns: Nil when the port has closed.
        /// - Throws: As ``next()`` does.
        public mutating func next(
            isolation actor: isolated (any Actor)?
        ) async throws(any Error) -> Datagram? { try await inbox.next() }
    }

    /// The protocol below: holds what was not taken.
    fileprivate final class Inbox: DatagramProtocol {
        /// The port does not read while so many wait.
        private static let limit = 64

        private let reactor: Reactor
        private(set) var transport: (any DatagramTransport)?
        private var waiting: [Datagram] = []
        private var isPaused = false
        private var taker: WaitKey?

        init(on reactor: Reactor) { self.reactor = reactor }

        func transportStarted(_ transport: any DatagramTransport) { self.transport = transport }

        func datagramReceived(
            _ bytes: RawSpan, from address: SocketAddress, on transport: any DatagramTransport
        ) {
            waiting.append(Datagram(bytes: Bytes(bytes), address: address))
            if waiting.count >= Self.limit, !isPaused {
                isPaused = true
                transport.pauseProducing()
            }
            if let taker { reactor.resume(taker) }
        }

        func transportStopped(_ transport: any DatagramTransport) {
            self.transport = nil
            if let taker { reactor.resume(taker) }
        }

        nonisolated(nonsending) func next() async throws -> Datagram? {
            reactor.checkThread()
            while waiting.isEmpty {
                guard let transport else { return nil }
                if isPaused {
                    isPaused = false
                    transport.resumeProducing()
                }
                require(
                    taker == nil,
                    "AsyncDatagramPort: two tasks take at the same time; let one take and hand on")
                defer { taker = nil }
                try await reactor.suspend { taker = $0 }
            }
            return waiting.removeFirst()
        }
    }
}
