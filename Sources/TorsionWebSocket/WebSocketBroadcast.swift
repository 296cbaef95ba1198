// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

public import TorsionCore

/// Sends each message to many sockets, encoded once.
///
///     let room = WebSocketBroadcast(slowReaders: .drop(aboveBytes: 256 * 1024))
///     room.add(socket)
///     room.send("somebody has come")
///
/// A socket leaves when it is lost. It belongs to the reactor of its sockets.
public final class WebSocketBroadcast {
    /// How a member is treated that reads more slowly than messages come.
    public enum SlowReaders: Hashable, Sendable {
        /// The producer is paused until the slowest has room: every member gets every message.
        case pauseProducer
        /// A member that has more than so many bytes queued is aborted, because of
        /// ``ReaderTooSlow``: the others do not wait for it.
        case drop(aboveBytes: Int)
    }

    private let slowReaders: SlowReaders
    private var members: [WebSocket] = []
    private var places: [ConnectionID: Int] = [:]
    private var fullCount = 0
    private var producer: (any PushProducer)?
    private var writers: [WaitKey] = []

    /// Without members.
    ///
    /// - Parameter slowReaders: By default a member with more than 1 MiB queued is dropped.
    public init(slowReaders: SlowReaders = .drop(aboveBytes: 1024 * 1024)) {
        if case .drop(let limit) = slowReaders {
            require(limit > 0, "WebSocketBroadcast: a limit is 1 byte or more, not \(limit)")
        }
        self.slowReaders = slowReaders
    }

    /// How many members there are.
    public var count: Int { members.count }

    /// Whether a member has more than the high mark queued, so that a producer is to wait.
    public var isFull: Bool { fullCount > 0 }

    /// Adds a member; one that is closed, or a member already, is not added.
    ///
    /// - Parameter socket: Open, of the same reactor as the others.
    public func add(_ socket: WebSocket) {
        guard socket.connection.transport != nil, places[socket.id] == nil else { return }
        if let first = members.first {
            require(
                first.reactor === socket.reactor,
                "WebSocketBroadcast: its members are of one reactor; make one for each")
        }
        places[socket.id] = members.count
        members.append(socket)
        socket.connection.useOutput().add(self)
    }

    /// Removes a member; harmless for any other socket.
    ///
    /// - Parameter socket: Stays open.
    public func remove(_ socket: WebSocket) {
        guard forget(socket.id) else { return }
        socket.connection.output?.remove(self)
    }

    /// - Returns: Whether it was a member.
    private func forget(_ id: ConnectionID) -> Bool {
        guard let place = places.removeValue(forKey: id) else { return false }
        let last = members.removeLast()
        if place < members.count {
            members[place] = last
            places[last.id] = place
        }
        return true
    }

    // MARK: Sending

    /// Sends a message to all, and returns at once.
    ///
    /// - Parameters:
    ///   - message: Encoded once for all.
    ///   - sender: Left out.
    /// - Complexity: O(*n*) in the number of members. The bytes of a message of 4 KiB or more are
    ///   shared by all that wait for their peers; shorter ones are copied.
    public func send(_ message: EncodedMessage, except sender: WebSocket? = nil) {
        let members = members
        for member in members where member !== sender {
            if case .drop(let limit) = slowReaders, member.pendingByteCount > limit {
                member.connection.transport?
                    .abortConnection(because: ReaderTooSlow(limitBytes: limit))
            } else {
                member.send(message)
            }
        }
    }

    /// Sends a text to all, and returns at once.
    ///
    /// - Parameters:
    ///   - text: Any.
    ///   - sender: Left out.
    public func send(_ text: String, except sender: WebSocket? = nil) {
        send(encoded(EncodedMessage(text)), except: sender)
    }

    /// Compresses a message, if a member wants it so.
    private func encoded(_ message: EncodedMessage) -> EncodedMessage {
        let member = members.first { member in
            guard let compression = member.connection.compression else { return false }
            return compression.takesShared && message.byteCount >= compression.minimumByteCount
        }
        guard let shared = member?.connection.shared.compression else { return message }
        let output = shared.takeBuffer()
        defer { shared.giveBack(output) }
        guard let deflater = try? shared.takeDeflater() else { return message }
        return message.compressed(by: deflater, output)
    }

    /// Sends a message to all, and waits while a member is full, if slow ones pause the producer.
    ///
    /// - Parameter message: Encoded once for all.
    /// - Throws: `CancellationError`; then the message is sent all the same.
    public nonisolated(nonsending) func send(_ message: EncodedMessage) async throws {
        send(message, except: nil)
        guard let reactor = members.first?.reactor else { return }
        while isFull, slowReaders == .pauseProducer {
            var key: WaitKey?
            do {
                try await reactor.suspend { wait in
                    key = wait
                    writers.append(wait)
                }
            } catch {
                writers.removeAll { $0 == key }
                throw error
            }
        }
    }

    /// Registers a producer, which is paused while a member is full, and resumed when all have
    /// room.
    ///
    /// - Parameter producer: Paused at once if one is. A second one traps. Not called where slow
    ///   readers are dropped.
    public func registerProducer(_ producer: any PushProducer) {
        require(
            self.producer == nil,
            "WebSocketBroadcast: a producer is registered already; unregister it first")
        self.producer = producer
        if isFull, slowReaders == .pauseProducer { producer.pauseProducing() }
    }

    /// The producer has finished.
    ///
    /// Harmless without a producer.
    public func unregisterProducer() { producer = nil }

    // MARK: What members tell

    func memberIsFull() {
        fullCount += 1
        if fullCount == 1, slowReaders == .pauseProducer { producer?.pauseProducing() }
    }

    func memberHasRoom(on reactor: Reactor) {
        fullCount -= 1
        guard fullCount == 0, slowReaders == .pauseProducer else { return }
        let waiting = writers
        writers = []
        for key in waiting { reactor.resume(key) }
        producer?.resumeProducing()
    }

    func memberIsLost(_ connection: WebSocketConnection, wasFull: Bool) {
        _ = forget(connection.id)
        if wasFull { memberHasRoom(on: connection.reactor) }
    }
}

/// Why a ``WebSocketBroadcast`` has aborted a member: it took too little of what was sent.
public struct ReaderTooSlow: Error, Hashable, Sendable, CustomStringConvertible {
    /// How many bytes may be queued for it.
    public let limitBytes: Int

    /// A sentence.
    public var description: String { "more than \(limitBytes) bytes were queued for a slow reader" }
}

extension WebSocketBroadcast: InvariantChecking {
    /// Checks what holds between events.
    package func checkInvariants() {
        require(
            members.count == places.count && 0...members.count ~= fullCount,
            "WebSocketBroadcast: \(members.count) members, \(fullCount) of them full")
    }
}
