// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

/// The life of a connection, as a pure state machine: events in, one action out, no I/O.
///
///     opening → open → readClosed | writeClosing → writeClosed
///             → finishing | abandoning | broken → closed
///
/// `finishing` sends what is queued in the process. When the kernel has it, writing is shut down
/// and the connection is over; its stream goes to ``LingeringStreams``, since `close(2)` with input
/// unread resets the connection and destroys what the kernel has not sent: probed, 128,000 of
/// 300,000 bytes arrived. `abandoning` does the same, and ends in a reset instead of a FIN. `broken` can send nothing any more, and delivers what had arrived before.
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
        /// Closing: what is queued still leaves. `peerFinished` when nothing more can arrive.
        case finishing(peerFinished: Bool)
        /// The same, but the peer has to see that what it gets is not the whole.
        case abandoning(peerFinished: Bool)
        /// The stream has failed with input unread, which is delivered before the loss.
        case broken
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
        /// Drop what is queued, stop the producer, deliver what had arrived, then report `failed`.
        case deliverRest
        /// Shut down writing; the stream lingers. The reason is that the connection was closed here.
        case shutdownAndLinger
        /// The same where writing was shut down before.
        case linger
        /// The stream lingers, and is reset when the peer has everything.
        case lingerAndReset
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

    var isBroken: Bool { state == .broken }

    var acceptsWrites: Bool { state == .open || state == .readClosed }

    /// Whether ``flushed()`` would do something.
    var awaitsFlush: Bool {
        switch state {
        case .writeClosing, .finishing, .abandoning: true
        case .opening, .open, .readClosed, .writeClosed, .broken, .closed: false
        }
    }

    /// Whether arriving bytes go to the protocol.
    var deliversReads: Bool {
        switch state {
        case .open, .writeClosing, .writeClosed, .broken: true
        case .opening, .readClosed, .finishing, .abandoning, .closed: false
        }
    }

    /// Whether bytes that arrived earlier go to the protocol, also behind the peer's end.
    var deliversUnread: Bool { deliversReads || state == .readClosed }

    /// Whether arriving bytes are read only to be discarded.
    var discardsReads: Bool {
        state == .finishing(peerFinished: false) || state == .abandoning(peerFinished: false)
    }

    /// Whether nothing more can arrive from the peer.
    var inputHasEnded: Bool {
        switch state {
        case .readClosed, .finishing(peerFinished: true), .abandoning(peerFinished: true): true
        case .opening, .open, .writeClosing, .writeClosed, .finishing, .abandoning, .broken,
            .closed:
            false
        }
    }

    mutating func opened() {
        precondition(state == .opening, "ConnectionStateMachine: opened twice")
        state = .open
    }

    /// The peer's FIN, or the end of what a broken stream had received.
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
        case .abandoning:
            state = .abandoning(peerFinished: true)
            return .none
        case .broken:
            return failed()
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
            state = .closed
            return .shutdownAndLinger
        case .abandoning:
            state = .closed
            return .lingerAndReset
        case .opening, .open, .readClosed, .writeClosed, .broken, .closed:
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
            // Everything has left, and writing was shut down already.
            state = .closed
            return .linger
        case .opening:
            state = .closed
            return .reset(.locally)
        case .broken:
            return failed()
        case .finishing, .abandoning, .closed:
            return .none
        }
    }

    /// Closes so that the peer, when it has got everything, sees a reset.
    mutating func abandon() -> Action {
        switch state {
        case .open, .writeClosing, .finishing(peerFinished: false):
            state = .abandoning(peerFinished: false)
            return .stopProducerAndFinish
        case .readClosed, .finishing(peerFinished: true):
            state = .abandoning(peerFinished: true)
            return .stopProducerAndFinish
        case .opening, .writeClosed:
            return abort()
        case .broken:
            return failed()
        case .abandoning, .closed:
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
        case .opening, .writeClosing, .writeClosed, .finishing, .abandoning, .broken, .closed:
            return .none
        }
    }

    /// The stream has failed, `hasInput` if something that arrived before was not delivered.
    mutating func broke(hasInput: Bool) -> Action {
        switch state {
        case .open, .readClosed, .writeClosing, .writeClosed:
            guard hasInput else { return failed() }
            state = .broken
            return .deliverRest
        case .broken:
            return hasInput ? .none : failed()
        case .opening, .finishing, .abandoning, .closed:
            return failed()
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
