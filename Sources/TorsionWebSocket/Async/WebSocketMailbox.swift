// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

internal import TorsionCore

/// Keeps messages for the task that reads them.
///
/// So many bytes are held, or so many messages, before reading pauses: a peer that sends many small ones
/// costs no pause for each.
final class WebSocketMailbox {
    private enum Ending {
        case none
        /// Both sides have closed, or we have.
        case finished
        case shutdownRequested
        case lost(WebSocketLoss)
    }

    private unowned let connection: WebSocketConnection
    private var queue = PieceQueue<WebSocketMessage>()
    private var heldByteCount = 0
    private var heldCount = 0
    private var ending = Ending.none
    private var reader: WaitKey?

    private static let heldLimitBytes = 64 * 1024
    private static let heldLimit = 256

    init(_ connection: WebSocketConnection) { self.connection = connection }

    // MARK: What the connection tells

    func messageReceived(_ message: RawSpan, _ kind: WebSocketMessage.Kind) {
        queue.append(WebSocketMessage(kind, Bytes(message)))
        heldByteCount += message.byteCount
        heldCount += 1
        wake()
        if heldByteCount >= Self.heldLimitBytes || heldCount >= Self.heldLimit {
            connection.pauseReceiving()
        }
    }

    /// A close frame was sent or has come.
    func closed() {
        guard case .none = ending else { return }
        if let farewell = connection.farewell, connection.wasAnswered,
            farewell.code != .normal, farewell.code != .goingAway, farewell.code != .none
        {
            ending = .lost(
                WebSocketLoss(
                    code: farewell.code, reason: farewell.reason, isClean: true,
                    cause: .closedByPeer))
        } else {
            ending = .finished
        }
        wake()
    }

    func shutdownRequested() {
        guard case .none = ending else { return }
        ending = .shutdownRequested
        wake()
    }

    func lost(_ why: WebSocketLoss) {
        guard case .none = ending else { return }
        ending = .lost(why)
        wake()
    }

    private func wake() {
        if let waiting = reader.take() { connection.reactor.resume(waiting) }
    }

    // MARK: Reading

    nonisolated(nonsending) func next() async throws -> WebSocketMessage? {
        while true {
            if let message = queue.popFirst() {
                heldByteCount -= message.bytes.count
                heldCount -= 1
                if heldCount == 0 { connection.resumeReceiving() }
                return message
            }
            switch ending {
            case .none: break
            case .finished: return nil
            case .shutdownRequested: throw ShutdownRequested()
            case .lost(let why): throw why
            }
            require(
                reader == nil,
                "WebSocket: two tasks read from \(connection.peerAddress) at the same time; let one"
                    + " read and hand on")
            defer { reader = nil }
            try await connection.reactor.suspend { reader = $0 }
        }
    }
}

extension WebSocket {
    /// The peer's messages, in order; ends when either side closes, with 1000, 1001 or without a code.
    ///
    /// Throws ``WebSocketLoss`` if the peer closes with any other code or the connection breaks,
    /// `ShutdownRequested` if the reactor stops, `CancellationError`. One task reads at a time. Up
    /// to 64 KiB of unread messages are held, then the peer is slowed down. If you leave the loop,
    /// messages stay.
    ///
    /// Traps for a socket with a protocol, which gets the messages.
    public var messages: Messages {
        guard let mailbox = mailbox else {
            mistake("WebSocket: messages are given to this socket's protocol, not to a task")
        }
        return Messages(socket: self, mailbox: mailbox)
    }

    /// The messages of a socket as a sequence.
    public struct Messages: AsyncSequence {
        /// Text or binary.
        public typealias Element = WebSocketMessage

        let socket: WebSocket
        let mailbox: WebSocketMailbox

        /// Begins where reading stands.
        public func makeAsyncIterator() -> Iterator {
            Iterator(socket: socket, mailbox: mailbox)
        }

        /// Reads when it is asked.
        public struct Iterator: AsyncIteratorProtocol {
            // Else the socket would be closed, when its last reference goes, before the end.
            let socket: WebSocket
            let mailbox: WebSocketMailbox

            /// Waits for the next message; nil at the end.
            public mutating func next() async throws -> WebSocketMessage? {
                try await mailbox.next()
            }

            /// Waits for the next message; nil at the end.
            ///
            /// - Parameter actor: The caller's; leave it out.
            /// - Returns: The next message; nil when the peer has closed.
            /// - Throws: ``WebSocketLoss`` if the connection is lost, `ShutdownRequested` if the
            ///   reactor or the server stops, `CancellationError`.
            public mutating func next(
                isolation actor: isolated (any Actor)?
            ) async throws(any Error) -> WebSocketMessage? {
                try await mailbox.next()
            }
        }
    }

    // MARK: Sending from tasks

    /// Sends a text, and waits while more than the high mark is queued.
    ///
    /// - Parameter text: Any.
    /// - Throws: ``WebSocketLoss`` or `ConnectionLoss` if the socket is closed, `CancellationError`.
    public nonisolated(nonsending) func send(_ text: String) async throws {
        try await send(WebSocketMessage(text))
    }

    /// Sends a message, and waits while more than the high mark is queued.
    ///
    /// It returns as soon as there is room for more, not when the peer has the message.
    ///
    /// - Parameter message: Any.
    /// - Throws: ``WebSocketLoss`` or `ConnectionLoss` if the socket is closed, `CancellationError`.
    public nonisolated(nonsending) func send(_ message: WebSocketMessage) async throws {
        try checkOpen()
        connection.sendMessage(message.kind.firstByte, message.bytes)
        try await connection.waitForRoom(afterSending: message.bytes.count)
    }

    private func checkOpen() throws {
        guard !isOpen else { return }
        if let loss = connection.loss { throw loss }
        throw ConnectionLoss.closedLocally
    }
}

extension WebSocketConnection {
    /// A task that always finds room lets others run now and then.
    private static var unheededByteCount: Int { 64 * 1024 }

    nonisolated(nonsending) func waitForRoom(afterSending byteCount: Int) async throws {
        guard transport != nil else { return }
        let output = useOutput()
        output.sentByteCount += byteCount + 64
        if output.isFull {
            try await output.waitForRoom()
            if let loss { throw loss }
        } else if output.sentByteCount > Self.unheededByteCount {
            output.sentByteCount = 0
            await reactor.yield()
            try Task.checkCancellation()
        }
    }
}
