// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

/// Where one connection of a client stands: how far the request is, and how far its answer.
///
/// Pure: no bytes, no clock, no callbacks. One request at a time: requests are not sent before the answer
/// to the one before is whole, since what a pipelined request has done cannot be known when the connection
/// breaks (RFC 9112 §9.3.2).
package struct ClientStateMachine {
    package enum Phase: Equatable {
        /// No request is under way.
        case idle
        /// The head of the answer is still to come.
        case asked
        /// The body of the answer is still to come, or a part of it.
        case answering
        /// Another protocol has the connection.
        case upgraded
        /// Nothing is read any more.
        case over
    }

    /// What becomes of the connection behind an answer.
    package enum Action: Equatable {
        /// It can carry another request.
        case keep
        /// It is closed.
        case close
        /// It is aborted: a request is still being written, which nobody wants any more.
        case abort
    }

    package private(set) var phase = Phase.idle
    /// Of the present request, counted from 1.
    package private(set) var number: UInt32 = 0
    /// Whether all of the request has been written.
    package private(set) var isRequestWhole = true
    private var closes = false
    private var isEnding = false

    package init() {}

    /// Whether the connection has carried a request before the present one.
    package var isReused: Bool { number > 1 }

    /// - Parameter closes: Whether the request asks for the connection to be closed.
    package mutating func requestBegins(closes: Bool) {
        precondition(phase == .idle, "ClientStateMachine: a request is under way")
        phase = .asked
        number &+= 1
        isRequestWhole = false
        self.closes = closes || isEnding
    }

    /// All of the request has been written.
    package mutating func requestEnded() { isRequestWhole = true }

    /// The head of an answer that is no interim one.
    package mutating func headArrived(closes: Bool) {
        precondition(phase == .asked, "ClientStateMachine: an answer that was not asked for")
        phase = .answering
        if closes { self.closes = true }
    }

    /// The answer is whole.
    ///
    /// - Parameter hasMore: Whether bytes came behind it, which are nobody's (H-52).
    /// - Returns: What becomes of the connection.
    package mutating func answerEnded(hasMore: Bool) -> Action {
        precondition(phase == .answering, "ClientStateMachine: an answer ends that has not begun")
        guard isRequestWhole else {
            phase = .over
            return .abort
        }
        guard !closes, !isEnding, !hasMore else {
            phase = .over
            return .close
        }
        phase = .idle
        return .keep
    }

    /// The server has changed to another protocol.
    package mutating func upgraded() {
        precondition(phase == .asked, "ClientStateMachine: an upgrade that was not asked for")
        phase = .upgraded
    }

    /// The reactor stops: the present request is the last one.
    ///
    /// - Returns: Whether there is none.
    package mutating func endWasRequested() -> Bool {
        isEnding = true
        return phase == .idle
    }

    /// The connection is lost, or given up.
    package mutating func lost() { phase = .over }

    /// Whether a request whose connection broke is sent once more (H-54): RFC 9110 §9.2.2.
    ///
    /// Only on a connection that was used before does a break say that the server had closed it when the
    /// request came.
    ///
    /// - Parameters:
    ///   - isIdempotent: Whether sending it twice does what sending it once does.
    ///   - hasAnswer: Whether a byte of an answer has come.
    ///   - wasRepeated: Whether it was sent once more before.
    /// - Returns: Whether it is sent.
    package func mayRepeat(isIdempotent: Bool, hasAnswer: Bool, wasRepeated: Bool) -> Bool {
        phase == .asked && isReused && isIdempotent && !hasAnswer && !wasRepeated
    }
}
