// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

internal import TorsionCore

/// Reads the answers to a client's requests, one after the other: bytes in, events out.
///
/// Pure: no clock, no connection. It holds a head that has come in part, and a line of a trailer; what it
/// finds of a body it lends from the bytes that it is given. The same bytes give the same events however
/// they are cut.
package struct AnswerReader {
    /// What has come.
    package enum Event {
        /// A head: an interim one, or that of the answer.
        case head(ResponseHead)
        /// Some of the body, by its place in the bytes.
        case body(Range<Int>)
        /// The answer is whole.
        case end
    }

    /// What comes next.
    private enum State: Equatable {
        /// No request is waiting.
        case idle
        case head
        case body(UInt64)
        case chunked
        case toClose
        /// The body is over, and its end is still to be said.
        case ending
        /// The connection has another protocol's bytes now.
        case upgraded
    }

    /// What the request was decides how its answer ends: RFC 9112 §6.3.
    private struct Question {
        var isHead = false
        var isConnect = false
        var mayUpgrade = false
    }

    static let interimLimit = 16

    private var state = State.idle
    private var question = Question()
    private var interimCount = 0
    private var held: HeldHead?
    private var decoder = ChunkedDecoder()
    private var slots: FieldSlots?
    private let limits: HeadLimits
    /// Whether a byte of an answer to the present request has come.
    package private(set) var hasBegun = false

    /// - Parameter limits: Those of the answers' heads.
    package init(limits: HeadLimits = HeadLimits()) { self.limits = limits }

    /// A request was sent.
    ///
    /// - Precondition: The answer to the one before is over.
    /// - Parameters:
    ///   - method: The request's.
    ///   - mayUpgrade: Whether it asked for another protocol, so that 101 may be the answer.
    package mutating func begin(_ method: HTTPMethod, mayUpgrade: Bool = false) {
        precondition(state == .idle, "AnswerReader: an answer is still to come")
        state = .head
        hasBegun = false
        interimCount = 0
        question = Question(
            isHead: method == .head, isConnect: method == .connect, mayUpgrade: mayUpgrade)
    }

    /// The trailers behind a body in chunks, when it is over.
    package var trailers: FieldList { decoder.trailers }

    /// Whether what comes now belongs to another protocol.
    package var isUpgraded: Bool { state == .upgraded }

    /// Whether no request is waiting for an answer.
    package var isIdle: Bool { state == .idle }

    /// Whether the body lasts until the connection ends.
    package var lastsToClose: Bool { state == .toClose }

    /// How many bytes of the body are still to come; `nil` if that is not known.
    package var restByteCount: UInt64? {
        switch state {
        case .body(let count): count
        case .ending, .idle: 0
        case .head, .chunked, .toClose, .upgraded: nil
        }
    }

    /// Finds the next event.
    ///
    /// - Parameters:
    ///   - bytes: What has arrived.
    ///   - position: Where to go on; moved behind what was used.
    /// - Returns: `nil` if more must come, or if what is left belongs to no answer.
    /// - Throws: What is wrong; the reader is used no more then.
    package mutating func next(
        _ bytes: RawSpan, _ position: inout Int
    ) throws(ResponseError) -> Event? {
        switch state {
        case .idle, .upgraded: return nil
        case .head: return try takeHead(bytes, &position)
        case .ending:
            state = .idle
            return .end
        case .body(let rest):
            let start = position
            guard start < bytes.byteCount else { return nil }
            let count = min(rest, UInt64(bytes.byteCount - start))
            position += Int(count)
            state = rest == count ? .ending : .body(rest - count)
            return .body(start..<position)
        case .toClose:
            let start = position
            guard start < bytes.byteCount else { return nil }
            position = bytes.byteCount
            return .body(start..<position)
        case .chunked:
            do throws(RequestError) {
                if let range = try decoder.next(bytes, &position) { return .body(range) }
            } catch {
                throw ResponseError(error)
            }
            guard decoder.isOver else { return nil }
            state = .idle
            return .end
        }
    }

    /// The server has ended its direction; a connection that broke has no end.
    ///
    /// - Returns: Whether the answer is whole by that: `false` if none was waited for.
    /// - Throws: ``ResponseError/truncated``.
    package mutating func inputEnded() throws(ResponseError) -> Bool {
        switch state {
        case .idle, .upgraded: return false
        case .toClose, .ending:
            state = .idle
            return true
        case .head, .body, .chunked: throw .truncated
        }
    }

    // MARK: Heads

    private mutating func takeHead(
        _ bytes: RawSpan, _ position: inout Int
    ) throws(ResponseError) -> Event? {
        guard position < bytes.byteCount else { return nil }
        hasBegun = true
        let start = position
        let rest = bytes[start...]
        if let held {
            let formerCount = held.bytes.count
            switch held.add(rest) {
            case .incomplete:
                position = bytes.byteCount
                return nil
            case .failed(let error): throw ResponseError(error)
            case .complete:
                self.held = nil
                position = start + held.parser.facts.byteCount - formerCount
                return try take(held.responseHead(), held.parser.facts)
            }
        }
        let slots = self.slots ?? FieldSlots(capacity: limits.fieldCount)
        self.slots = slots
        var parser = HeadParser(ofAnswer: limits)
        switch unsafe parser.parse(rest, slots.base) {
        case .incomplete:
            held = HeldHead(ofAnswer: rest, limits: limits)
            position = bytes.byteCount
            return nil
        case .failed(let error): throw ResponseError(error)
        case .complete:
            position = start + parser.facts.byteCount
            let head = unsafe ResponseHead(rest, slots.base, parser.facts)
            extendLifetime(slots)
            return try take(head, parser.facts)
        }
    }

    private mutating func take(
        _ head: ResponseHead, _ facts: HeadFacts
    ) throws(ResponseError) -> Event {
        if head.status == .switchingProtocols {
            guard question.mayUpgrade else { throw .unexpectedUpgrade }
            state = .upgraded
        } else if head.status.isInterim {
            interimCount += 1
            if interimCount > Self.interimLimit { throw .tooManyInterimAnswers }
        } else if question.isConnect, head.status.code < 300 {
            state = .upgraded
        } else {
            beginBody(head.status, facts)
        }
        return .head(head)
    }

    private mutating func beginBody(_ status: HTTPStatus, _ facts: HeadFacts) {
        decoder = ChunkedDecoder()
        if question.isHead || status.isWithoutBody {
            state = .ending
        } else if facts.flags.contains(.isChunked) {
            state = .chunked
        } else if facts.flags.contains(.hasLength) {
            state = facts.contentLength == 0 ? .ending : .body(facts.contentLength)
        } else {
            state = .toClose
        }
    }
}
