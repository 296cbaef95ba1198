// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

/// The life of a connection, as a pure state machine: events in, one action out, no I/O.
///
///     opening → open → readClosed | writeClosing → writeClosed → finishing → draining → closed
///
/// `finishing` sends what is queued. `draining` has shut down writing and discards what still
/// arrives, because `close(2)` with unread input resets the connection and destroys what the
/// kernel has not sent: probed, 128,000 of 300,000 bytes arrived. It ends at the peer's FIN.
struct ConnectionStateMachine {
    enum State: Equatable {
        /// Connecting, or accepted and not yet announced.
        case opening
        case open
        /// The peer's FIN was seen by a protocol that may go on writing.
        case readClosed
        /// `loseWriteConnection` was called; what is queued still leaves.
        case writeClosing
        case writeClosed
        /// Closing: what is queued still leaves. `peerFinished` when there is nothing to drain.
        case finishing(peerFinished: Bool)
        /// Closing: shut down, waiting for the peer's FIN.
        case draining
        case closed
    }

    enum Action: Equatable {
        case none
        /// Tell the protocol that the peer will send no more.
        case announceReadClosed
        /// Discard what arrives from now on, start the close deadline, and report `flushed` when
        /// the queue is empty and the producer has finished.
        case finish
        /// The same, but stop the producer: the peer has closed, for all that its protocol knows,
        /// and a producer that would go on for ever must not hold the connection.
        case stopProducerAndFinish
        /// Report `flushed` when the queue is empty.
        case flush
        /// Shut down writing and tell the protocol.
        case shutdownAndAnnounce
        /// Shut down writing, then wait for the peer's FIN.
        case shutdownAndDrain
        /// Close, with this reason.
        case close(Ending)
        /// Reset, with this reason.
        case reset(Ending)
    }

    /// Why it ended; the core adds the error where there is one.
    enum Ending: Equatable { case byPeer, locally, aborted, failed, deadlinePassed }

    private(set) var state = State.opening
    /// The reason of a graceful close, once it has begun.
    private var ending = Ending.locally

    var isClosed: Bool { state == .closed }

    var acceptsWrites: Bool { state == .open || state == .readClosed }

    /// Whether ``flushed()`` would do something.
    var awaitsFlush: Bool {
        switch state {
        case .writeClosing, .finishing: true
        case .opening, .open, .readClosed, .writeClosed, .draining, .closed: false
        }
    }

    /// Whether arriving bytes go to the protocol.
    var deliversReads: Bool {
        switch state {
        case .open, .writeClosing, .writeClosed: true
        case .opening, .readClosed, .finishing, .draining, .closed: false
        }
    }

    /// Whether bytes that arrived earlier go to the protocol, also behind the peer's end.
    var deliversUnread: Bool { deliversReads || state == .readClosed }

    /// Whether arriving bytes are read only to be discarded.
    var discardsReads: Bool {
        switch state {
        case .finishing(let peerFinished): !peerFinished
        case .draining: true
        case .opening, .open, .readClosed, .writeClosing, .writeClosed, .closed: false
        }
    }

    mutating func opened() {
        precondition(state == .opening, "ConnectionStateMachine: opened twice")
        state = .open
    }

    /// The peer's FIN.
    mutating func readEnded(isHalfCloseable: Bool) -> Action {
        switch state {
        case .open where isHalfCloseable:
            state = .readClosed
            return .announceReadClosed
        case .writeClosing where isHalfCloseable:
            // What is queued still leaves; both directions have ended then.
            ending = .byPeer
            state = .finishing(peerFinished: true)
            return .announceReadClosed
        case .open, .writeClosing:
            ending = .byPeer
            state = .finishing(peerFinished: true)
            return .stopProducerAndFinish
        case .writeClosed:
            state = .closed
            return .close(.byPeer)
        case .finishing:
            state = .finishing(peerFinished: true)
            return isHalfCloseable ? .none : .stopProducerAndFinish
        case .draining:
            state = .closed
            return .close(ending)
        case .opening, .readClosed, .closed:
            return .none
        }
    }

    /// The queue is empty and no producer is registered.
    mutating func flushed() -> Action {
        switch state {
        case .writeClosing:
            state = .writeClosed
            return .shutdownAndAnnounce
        case .finishing(peerFinished: true):
            state = .closed
            return .close(ending)
        case .finishing(peerFinished: false):
            state = .draining
            return .shutdownAndDrain
        case .opening, .open, .readClosed, .writeClosed, .draining, .closed:
            return .none
        }
    }

    mutating func loseConnection() -> Action {
        switch state {
        case .open, .writeClosing:
            state = .finishing(peerFinished: false)
            return .finish
        case .readClosed:
            state = .finishing(peerFinished: true)
            return .finish
        case .writeClosed:
            // Writing was shut down already; only the peer's end is missing.
            state = .draining
            return .finish
        case .opening:
            state = .closed
            return .reset(.locally)
        case .finishing, .draining, .closed:
            return .none
        }
    }

    mutating func loseWriteConnection() -> Action {
        switch state {
        case .open:
            state = .writeClosing
            return .flush
        case .readClosed:
            // Both directions have ended when the queue is empty.
            ending = .byPeer
            state = .finishing(peerFinished: true)
            return .finish
        case .opening, .writeClosing, .writeClosed, .finishing, .draining, .closed:
            return .none
        }
    }

    mutating func abort() -> Action { end(.reset(.aborted)) }

    mutating func failed() -> Action { end(.close(.failed)) }

    mutating func deadlinePassed() -> Action { end(.reset(.deadlinePassed)) }

    private mutating func end(_ action: Action) -> Action {
        guard state != .closed else { return .none }
        state = .closed
        return action
    }
}
