// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

/// What a stop of the reactor asks of a connection: whether a client of the program's is at the other
/// end, and whether its protocol was asked to end.
struct ServedClient {
    /// Whether the protocol was asked to end.
    enum Request {
        case none
        /// When the first bytes have been delivered: the client has just connected.
        case behindFirstBytes
        case done
    }

    /// Whether a client of the server is at the other end, for whom a stop waits first: until all
    /// that it is sent has left.
    var isServed = false
    /// Whether the peer has sent anything.
    var hasReceived = false
    var request = Request.none
    let madeAt: MonotonicInstant

    init(madeAt: MonotonicInstant) { self.madeAt = madeAt }

    /// Whether its first bytes may still be on their way.
    func isNew(at now: MonotonicInstant) -> Bool {
        !hasReceived && madeAt.advanced(by: Reactor.firstBytesGracePeriod) > now
    }
}

/// How far a close has come.
struct CloseProgress {
    /// Of a close, or of a broken connection whose program is paused.
    var deadline: DelayedCall?
    /// Whether the kernel took something since the deadline was looked at last.
    var hasProgressed = false
    /// What the kernel still had then; its fall is progress.
    var unsentByteCount = Int.max
    /// Whether something arrived after the connection began to close.
    var hasDiscardedInput = false
}

/// Who is registered with a connection, and where it is in its cycle.
enum ConnectionProducer {
    case none
    /// `isPaused` is what it was called with last, which the gate may have changed since.
    case push(any PushProducer, isPaused: Bool)
    case pull(any PullProducer, PullState)

    /// Where a pull producer is on its way from one call to the next.
    enum PullState {
        /// It was called, and has written nothing since.
        case awaitingData
        /// It has written, and what it wrote has not left.
        case draining
        /// Everything has left: it is on the reactor's list, once, to be called in a later turn.
        case ready
    }

    var isNone: Bool { if case .none = self { true } else { false } }
}
