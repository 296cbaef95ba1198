// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

internal import TorsionCore

extension HTTPConnection {
    /// Whether the present request is this one, and not answered.
    @inline(__always)
    func isAwaiting(_ number: UInt32) -> Bool {
        machine.number == number && machine.output == .awaited
    }

    /// Whether the body of this request's answer is being written.
    func isWriting(_ number: UInt32) -> Bool {
        machine.number == number && machine.output == .begun
    }

    var peerAddress: SocketAddress {
        transport?.peerAddress ?? .ipv4(.any, port: 0)
    }

    var details: ConnectionDetails { transport?.details ?? ConnectionDetails() }

    func whenGone(_ number: UInt32, _ body: @escaping () -> Void) {
        guard isAwaiting(number) || isWriting(number) else { return }
        makeExtras().whenGone.append(body)
    }

    private var isHead: Bool { method == HTTPMethod.head.number }

    // MARK: Heads

    /// Writes a head, and bytes of the body behind it: whatever is answered comes through here.
    ///
    /// - Parameters:
    ///   - plan: What the head says.
    ///   - fields: The program's.
    ///   - survey: Of these.
    ///   - body: Copied.
    /// - Returns: Whether the fields can be sent; if not, nothing is written.
    @inline(__always)
    private func write(
        _ plan: AnswerPlan, _ fields: FieldList, _ survey: FieldSurvey, body: RawSpan = RawSpan()
    ) -> Bool {
        guard survey.capacity >= 0 else { return false }
        if unsafe block.pointee.now >= block.pointee.dateEnd { shared.makeDateLine() }
        let capacity = survey.capacity &+ body.byteCount
        let count = withCorked { corked in
            guard let cork = unsafe corked.cork(withRoomFor: capacity) else { return -1 }
            let count = unsafe plan.encode(fields, body, block, into: cork.pointee.end)
            unsafe cork.pointee.count &+= count
            return count
        }
        if let count, count >= 0 { return count > 0 }
        return writeElsewhere(plan, fields, capacity, body)
    }

    /// Outside of the connection's own event, or where its buffer has no room.
    @inline(never)
    private func writeElsewhere(
        _ plan: AnswerPlan, _ fields: FieldList, _ capacity: Int, _ body: RawSpan
    ) -> Bool {
        var isRefused = false
        transport?.write(capacity: capacity) { output in
            output.withUnsafeMutableBytes { room, count in
                // It has room for a head at least, hence an address.
                unsafe count = plan.encode(fields, body, block, into: room.baseAddress!)
                isRefused = count == 0
            }
        }
        return !isRefused
    }

    /// Writes a head without fields of the program's.
    func write(_ plan: AnswerPlan) {
        refreshTime()
        _ = write(plan, [:], FieldSurvey([:]))
    }

    // MARK: Whole answers

    /// Bodies up to this size are copied behind their head.
    private static let inlineByteCount = 2 * 1024

    @inline(__always)
    func respond(
        _ number: UInt32, _ status: HTTPStatus, _ fields: FieldList, _ body: RawSpan, owner: Bytes?
    ) {
        require(
            status.code >= 200, "HTTPExchange: \(status) is no final answer; see inform and upgrade"
        )
        guard isAwaiting(number), transport != nil else { return }
        if promisesTunnel(status) { return refuseTunnel(number) }
        if !isCalled(number) { refreshTime() }
        let survey = FieldSurvey(fields)
        let closedBefore = machine.closes
        begin(survey)
        let framing = AnswerFraming(of: status, .length(body.byteCount))
        let closes = machine.closes && !survey.wantsClose
        let plan = AnswerPlan(status, framing, closes: closes)
        let isSent = !isHead && framing == .length(body.byteCount)
        let isInline = isSent && body.byteCount <= Self.inlineByteCount
        guard write(plan, fields, survey, body: isInline ? body : RawSpan()) else {
            machine.answerWithdrawn(closes: closedBefore)
            return answerFailed(fields)
        }
        if isSent, !isInline { send(body, owner) }
        end(status, isSent ? body.byteCount : 0)
    }

    /// Whether the client would take all that follows for what comes through a tunnel, which only
    /// ``upgrade(_:to:_:_:)`` makes: RFC 9110 §9.3.6.
    @inline(__always)
    private func promisesTunnel(_ status: HTTPStatus) -> Bool {
        method == HTTPMethod.connect.number && status.code < 300
    }

    @inline(never)
    private func refuseTunnel(_ number: UInt32) {
        respond(number, .notImplemented, [:], RawSpan(), owner: nil)
    }

    @inline(never)
    private func send(_ body: RawSpan, _ owner: Bytes?) {
        if let owner { transport?.write(owner) } else { transport?.write(body) }
    }

    /// Whether somebody reads the request's body.
    @inline(__always)
    private var isBodyRead: Bool { extras?.body?.isRead ?? false }

    @inline(__always)
    private func begin(_ survey: FieldSurvey) {
        let closes = survey.wantsClose || method == HTTPMethod.connect.number
        machine.answerBegins(
            closes: closes, discardLimit: options.value.discardLimitBytes, isRead: isBodyRead)
    }

    @inline(__always)
    private func end(_ status: HTTPStatus, _ sentByteCount: Int) {
        if extras != nil { noteEnd(status, sentByteCount) }
        let action = machine.answerEnded(isRead: isBodyRead)
        // Nearly always: the next request is taken where this one was delivered.
        if action == .proceed, extras == nil, isAdvancing { return }
        perform(action)
    }

    @inline(never)
    private func noteEnd(_ status: HTTPStatus, _ sentByteCount: Int) {
        extras?.whenGone = []
        record { $0.sentByteCount = sentByteCount }
        endRecord(status, isWhole: true)
        lastActivity = reactor.now
    }

    // MARK: What goes wrong

    /// The program's fields cannot be sent.
    @inline(never)
    private func answerFailed(_ fields: FieldList) {
        reportBad(fields)
        respond(machine.number, .internalServerError, [:], RawSpan(), owner: nil)
    }

    private func report(_ error: any Error) {
        reactor.report(error, in: "answering \(peerAddress)", connection: transport?.id)
    }

    private func reportBad(_ fields: FieldList) {
        guard let error = AnswerError(in: fields) else { return }
        report(error)
    }

    /// The responder threw, or dropped the exchange.
    @inline(never)
    func responderFailed(_ number: UInt32, _ error: any Error) {
        guard machine.number == number, transport != nil else {
            return reactor.report(error, in: "a responder")
        }
        switch machine.output {
        case .awaited: respond(number, failure: error)
        case .begun: abort(because: error)
        case .idle, .done: report(error)
        }
    }

    /// Answers for something that failed.
    func respond(_ number: UInt32, failure error: any Error) {
        guard isAwaiting(number) else { return }
        switch error {
        case let response as HTTPResponse: return respond(number, response)
        // The client's mistakes are not the program's.
        case is ReadLimitExceeded: return respond(number, HTTPResponse(.contentTooLarge))
        case let error as RequestError: return respond(number, HTTPResponse(error.status))
        case is BodyTruncated: return respond(number, HTTPResponse(.badRequest))
        default: break
        }
        report(error)
        respond(number, HTTPResponse(.internalServerError))
    }

    func respond(_ number: UInt32, _ response: HTTPResponse) {
        respond(
            number, response.status, response.fields, response.body.span, owner: response.body)
    }

    /// Ends the connection in the middle of an answer, so that the client takes no part for the whole.
    func abort(because error: any Error) {
        if !isClients(error) { report(error) }
        transport?.abortConnection(because: error)
    }

    /// Whether the client has made an answer fail, which is no mistake of the program's: anybody can do
    /// so any number of times.
    private func isClients(_ error: any Error) -> Bool {
        switch error {
        // The answer was made of the request's body.
        case is RequestError, is BodyTruncated, is ReadLimitExceeded: true
        // A client that has gone stops the producer of the body before this connection is called with
        // the loss, and then the program may leave the body as it is.
        case is AnswerError: !(transport?.acceptsWrites ?? false)
        default: false
        }
    }

    // MARK: Answers piece by piece

    func begin(
        _ number: UInt32, _ status: HTTPStatus, _ fields: FieldList, byteCount: Int?
    ) -> ResponseWriter {
        require(
            status.code >= 200, "HTTPExchange: \(status) is no final answer; see inform and upgrade"
        )
        require(
            byteCount ?? 0 >= 0, "HTTPExchange: a body of \(byteCount ?? 0) bytes cannot be")
        guard isAwaiting(number), transport != nil else { return ResponseWriter() }
        if promisesTunnel(status) {
            refuseTunnel(number)
            return ResponseWriter()
        }
        refreshTime()
        let survey = FieldSurvey(fields)
        let closedBefore = machine.closes
        begin(survey)
        let wanted: AnswerFraming =
            byteCount.map { .length($0) } ?? (minorVersion == 1 ? .chunked : .toClose)
        let framing = AnswerFraming(of: status, wanted)
        let closes = machine.closes && !survey.wantsClose
        guard write(AnswerPlan(status, framing, closes: closes), fields, survey) else {
            machine.answerWithdrawn(closes: closedBefore)
            answerFailed(fields)
            return ResponseWriter()
        }
        let isOmitted = isHead || framing != wanted
        return ResponseWriter(self, number, status, framing, isOmitted: isOmitted)
    }

    func respond(
        _ number: UInt32, _ status: HTTPStatus, _ fields: FieldList, source: any ByteSource,
        byteCount: Int?
    ) {
        let writer = begin(number, status, fields, byteCount: byteCount)
        guard !writer.isOmitted else { return writer.finishOmitted() }
        guard writer.isOpen else { return }
        // What breaks it is reported where the writer is abandoned.
        source.pipe(to: writer).whenFailed { _ in }
    }

    /// A writer has finished.
    func writerEnded(_ status: HTTPStatus, byteCount: Int) {
        _ = makeExtras()
        end(status, byteCount)
    }

    // MARK: Other answers

    func inform(_ number: UInt32, _ status: HTTPStatus, _ fields: FieldList) {
        require(
            (102..<200).contains(status.code), "HTTPExchange: \(status) is no interim answer")
        guard isAwaiting(number), transport != nil, minorVersion == 1 else { return }
        refreshTime()
        let plan = AnswerPlan(status, .none, closes: false)
        if !write(plan, fields, FieldSurvey(fields)) { reportBad(fields) }
    }

    func upgrade(
        _ number: UInt32, to newProtocol: any StreamProtocol, _ status: HTTPStatus,
        _ fields: FieldList
    ) {
        require(
            status == .switchingProtocols || method == HTTPMethod.connect.number
                || !isAwaiting(number),
            "HTTPExchange: an upgrade is answered with 101, or CONNECT with 200, not \(status)")
        guard isAwaiting(number), transport != nil else { return }
        // Else the new protocol would get a body that is none of its own.
        guard machine.input == .ended || machine.input == .over else {
            return respond(number, HTTPResponse(.badRequest))
        }
        let isUpgrade = status == .switchingProtocols
        let plan = AnswerPlan(status, .none, closes: false, isUpgrade: isUpgrade)
        refreshTime()
        guard write(plan, fields, FieldSurvey(fields)) else { return answerFailed(fields) }
        endRecord(status, isWhole: true)
        machine.upgraded()
        makeExtras().upgraded = newProtocol
        upgradeLater()
    }

    // MARK: Records

    func bodyWritten(byteCount: Int) { extras?.writtenByteCount = byteCount }

    func sendsFile(_ isSendingFile: Bool) { extras?.isSendingFile = isSendingFile }

    func beginRecord(_ head: borrowing RequestHead) {
        let extras = makeExtras()
        extras.recordStart = reactor.now
        guard let transport else { return }
        extras.record = HTTPRequestRecord(
            connection: transport.id, number: Int(machine.number),
            peerAddress: transport.peerAddress, method: head.method, target: Bytes(head.target),
            status: nil, receivedByteCount: 0, sentByteCount: 0, duration: .zero, isWhole: false)
    }

    func record(_ body: (inout HTTPRequestRecord) -> Void) {
        if extras?.record != nil { body(&extras!.record!) }
    }

    /// Tells the observer of the present request, once.
    func endRecord(_ status: HTTPStatus?, isWhole: Bool) {
        guard let observer = options.value.observer, let transport else { return }
        var record = extras?.record.take()
        if record == nil, let status {
            // One that could not be read.
            guard status.code >= 400, machine.input == .over else { return }
            record = HTTPRequestRecord(
                connection: transport.id, number: Int(machine.number),
                peerAddress: transport.peerAddress, method: nil, target: Bytes(), status: status,
                receivedByteCount: 0, sentByteCount: 0, duration: .zero, isWhole: isWhole)
        }
        guard var record else { return }
        record.status = status ?? record.status
        record.isWhole = isWhole
        if let start = extras?.recordStart { record.duration = start.duration(to: reactor.now) }
        observer.requestDidEnd(record)
    }
}

extension HTTPConnection: BodyOutlet {}
