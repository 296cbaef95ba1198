// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

/// Where one connection of a server stands: what is read next, and how far the answer is.
///
/// Pure: no bytes, no clock, no callbacks. One request at a time, so that answers have their order by
/// construction.
package struct ServerStateMachine {
    /// What comes next from the client.
    package enum Input: Equatable {
        /// A head, or what has begun of one.
        case head
        /// A body of so many bytes more.
        case body(UInt64)
        /// A body in chunks.
        case chunked
        /// The request is whole; what comes behind waits for the answer.
        case ended
        /// Nothing is read any more.
        case over
    }

    /// How far the answer is.
    package enum Output: Equatable {
        /// There is no request.
        case idle
        /// The program has the exchange.
        case awaited
        /// The head of the answer was written.
        case begun
        /// The answer is written; the request's body is not over.
        case done
    }

    /// What is to be done now.
    package enum Action: Equatable {
        case none
        /// The next request may be delivered.
        case proceed
        /// The connection is closed behind what was written.
        case close
    }

    package private(set) var input = Input.head
    package private(set) var output = Output.idle
    /// Whether the connection is closed behind the present answer.
    package private(set) var closes = false
    /// Of the present request, counted from 1.
    package private(set) var number: UInt32 = 0
    /// The client waits for `100 Continue` before it sends a body.
    package private(set) var owesContinue = false
    /// No further request is wanted: the server ends.
    package private(set) var isEnding = false
    private var discardedByteCount: UInt64 = 0

    package init() {}

    /// Whether a request is in hand.
    @inline(__always)
    package var isBusy: Bool { output != .idle }

    // MARK: The client

    /// A whole head has come.
    @inline(__always)
    package mutating func headArrived(_ facts: HeadFacts) {
        precondition(
            input == .head && output == .idle, "ServerStateMachine: a head comes too early")
        number &+= 1
        output = .awaited
        let flags = facts.flags
        closes = isEnding || flags.contains(.close) || facts.minorVersion == 0
        if flags.contains(.isChunked) {
            input = .chunked
        } else {
            input = facts.contentLength > 0 ? .body(facts.contentLength) : .ended
        }
        if flags.contains(.expectsContinue) { owesContinue = input != .ended }
    }

    /// Some of a body's bytes have come, and are about to be given to whoever reads it.
    package mutating func bodyArrived(byteCount: Int) {
        owesContinue = false
        guard case .body(let rest) = input else { return }
        precondition(rest >= byteCount, "ServerStateMachine: a body is longer than announced")
        input = .body(rest - UInt64(byteCount))
    }

    /// A body is over: the last of it has been given to whoever reads it.
    package mutating func bodyEnded() {
        precondition(
            input == .chunked || input == .body(0), "ServerStateMachine: a body ends too early")
        owesContinue = false
        input = .ended
    }

    /// The request is whole, and perhaps answered already.
    package mutating func requestEnded() -> Action {
        guard input == .ended, output == .done else { return .none }
        return next()
    }

    /// Bytes of a body that nobody wants have come behind the answer.
    ///
    /// - Parameters:
    ///   - byteCount: So many.
    ///   - limit: How many are read past.
    /// - Returns: `close` when there were more.
    package mutating func discarded(byteCount: Int, limit: Int) -> Action {
        discardedByteCount += UInt64(byteCount)
        guard discardedByteCount > UInt64(limit), input != .ended else { return .none }
        input = .over
        output = .idle
        return .close
    }

    /// Whether `100 Continue` is to be sent now, since somebody asks for the body.
    package mutating func bodyWasAskedFor() -> Bool {
        guard owesContinue, output == .awaited else { return false }
        owesContinue = false
        return true
    }

    /// The client sends nothing more, and all that it sent is used.
    ///
    /// - Returns: `close` if nothing is in hand.
    package mutating func inputEnded() -> Action {
        input = .over
        closes = true
        guard output == .idle || output == .done else { return .none }
        output = .idle
        return .close
    }

    /// What the client sent is no request: nothing of it is read any more.
    ///
    /// - Returns: Whether it can be answered: no answer has begun.
    package mutating func requestFailed() -> Bool {
        input = .over
        closes = true
        guard output == .idle || output == .awaited else { return false }
        if output == .idle { number &+= 1 }
        output = .awaited
        return true
    }

    // MARK: The program

    /// The head of an answer is about to be written.
    ///
    /// - Parameters:
    ///   - wantsClose: Whether the program wants the connection closed behind it.
    ///   - discardLimit: How many bytes of an unread body are read past.
    ///   - isRead: Whether somebody reads the body.
    @inline(__always)
    package mutating func answerBegins(
        closes wantsClose: Bool, discardLimit: Int, isRead: Bool
    ) {
        precondition(output == .awaited, "ServerStateMachine: an answer without a request")
        output = .begun
        if wantsClose || isEnding { closes = true }
        if input != .ended { checkUnreadBody(discardLimit, isRead) }
    }

    /// The head of the answer was not written after all: another one will be.
    ///
    /// - Parameter closes: What ``closes`` was before ``answerBegins(closes:discardLimit:isRead:)``.
    package mutating func answerWithdrawn(closes: Bool) {
        precondition(output == .begun, "ServerStateMachine: no answer to withdraw")
        output = .awaited
        self.closes = closes
    }

    @inline(never)
    private mutating func checkUnreadBody(_ limit: Int, _ isRead: Bool) {
        guard !isRead else { return }
        // Whether the body still comes is the client's choice then: where the next request begins
        // cannot be known (RFC 9110 §10.1.1).
        if owesContinue { closes = true }
        if case .body(let rest) = input, rest > UInt64(limit) { closes = true }
    }

    /// The answer is written.
    ///
    /// - Parameter isRead: Whether somebody still reads the request's body.
    /// - Returns: What follows.
    @inline(__always)
    package mutating func answerEnded(isRead: Bool) -> Action {
        precondition(output == .begun, "ServerStateMachine: an answer ends that has not begun")
        output = .done
        if input == .ended || closes && !isRead { return next() }
        return .none
    }

    @inline(__always)
    private mutating func next() -> Action {
        output = .idle
        discardedByteCount = 0
        owesContinue = false
        guard !closes, !isEnding else {
            input = .over
            return .close
        }
        input = .head
        return .proceed
    }

    /// The connection goes over to another protocol.
    package mutating func upgraded() {
        precondition(output == .awaited, "ServerStateMachine: an upgrade without a request")
        input = .over
        output = .idle
    }

    /// The server ends: the present request is the last one.
    ///
    /// - Returns: Whether there is none.
    package mutating func endWasRequested() -> Bool {
        isEnding = true
        return output == .idle && input == .head
    }

    /// The connection is lost.
    package mutating func lost() {
        input = .over
        output = .idle
    }
}
