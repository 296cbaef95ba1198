// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

internal import TorsionCore

// No timer is moved for a request. Each connection has one, which looks at what is being waited for and
// since when, and comes again when that may have lasted too long, or after the shortest of all times:
// what begins behind one look is never missed by the next.

/// Notes how long a client takes nothing of an answer, and how fast a body comes.
struct AnswerStall {
    private var sentByteCount = Int.min
    private var since = MonotonicInstant(nanoseconds: 0)
    private var bodyAskedAt: MonotonicInstant?
    /// What had come of the body by then.
    private var formerByteCount = 0

    /// A body is asked for, or asked for again by a program that had paused it.
    mutating func bodyWasAskedFor(at now: MonotonicInstant, receivedByteCount: Int) {
        bodyAskedAt = now
        formerByteCount = receivedByteCount
    }

    /// When a client that takes nothing, seen now, will have taken nothing for too long.
    mutating func deadline(
        sentByteCount count: Int, at now: MonotonicInstant, _ limit: Duration
    ) -> MonotonicInstant {
        if count != sentByteCount { (sentByteCount, since) = (count, now) }
        return since.advanced(by: limit)
    }

    mutating func notStalled() { sentByteCount = .min }

    /// Whether a body comes more slowly than allowed, when the first time limit is past.
    mutating func isTooSlow(
        _ receivedByteCount: Int, at now: MonotonicInstant, _ options: HTTPServerOptions
    ) -> Bool {
        guard let start = bodyAskedAt else { return false }
        let elapsed = start.duration(to: now) - options.bodyTimeout
        guard elapsed > .zero else { return false }
        let seconds = Int(elapsed.components.seconds)
        return receivedByteCount - formerByteCount < seconds * options.bodyBytesPerSecond
    }
}

extension HTTPConnection {
    /// What a connection may wait for only so long.
    private enum Wait {
        case nothing
        case until(MonotonicInstant, Timeout)
    }

    private enum Timeout { case silence, head, body, answer }

    func planLook() {
        plan(at: reactor.now.advanced(by: options.value.shortestTimeout))
    }

    private func plan(at instant: MonotonicInstant) {
        let shortest = options.value.shortestTimeout
        let delay = min(reactor.now.duration(to: instant), shortest)
        look = reactor.callLater(delay) { [self] in
            look = nil
            lookAtTime()
        }
    }

    private func lookAtTime() {
        guard transport != nil else { return }
        let now = reactor.now
        switch wait(at: now) {
        case .nothing: planLook()
        case .until(let deadline, let timeout):
            if now < deadline { return plan(at: deadline) }
            expire(timeout)
        }
    }

    private func wait(at now: MonotonicInstant) -> Wait {
        let times = options.value
        guard let transport else { return .nothing }
        let pendingByteCount = transport.pendingByteCount
        if pendingByteCount > 0 || extras?.isSendingFile ?? false {
            let extras = makeExtras()
            let sent = extras.writtenByteCount - pendingByteCount
            let deadline = extras.stall.deadline(
                sentByteCount: sent, at: now, times.answerTimeout)
            return .until(deadline, .answer)
        }
        extras?.stall.notStalled()
        if hasPartialHead { return .until(headStart.advanced(by: times.headTimeout), .head) }
        switch machine.input {
        case .head:
            let isNew = machine.number == 0
            let limit = isNew ? times.firstByteTimeout : times.idleTimeout
            return .until(lastActivity.advanced(by: limit), .silence)
        case .body, .chunked: return waitForBody(at: now, times)
        case .ended, .over: return .nothing
        }
    }

    private func waitForBody(at now: MonotonicInstant, _ times: HTTPServerOptions) -> Wait {
        let isDiscarded = machine.output == .done
        guard isDiscarded || extras?.body?.accepts ?? false else { return .nothing }
        let received = extras?.body?.receivedByteCount ?? 0
        if !isDiscarded, let extras, extras.stall.isTooSlow(received, at: now, times) {
            return .until(now, .body)
        }
        return .until(lastActivity.advanced(by: times.bodyTimeout), .body)
    }

    private func expire(_ timeout: Timeout) {
        switch timeout {
        case .silence:
            machine.lost()
            transport?.loseConnection()
        case .answer:
            transport?.abortConnection(because: ConnectionLoss.deadlinePassed(.idle))
        case .head, .body:
            timedOut()
        }
    }
}
