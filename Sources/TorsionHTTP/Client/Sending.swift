// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

internal import TorsionCore

/// One request on its way, over as many connections and places as it takes.
///
/// It holds its client until it is answered.
final class Sending {
    @exclusivity(unchecked) private(set) var request: ClientRequest
    /// It was sent once more: see ``ClientStateMachine/mayRepeat(isIdempotent:hasAnswer:wasRepeated:)``.
    private(set) var wasRepeated = false
    private let client: HTTPClient
    /// Of the present request, checked.
    @exclusivity(unchecked) private var plan: RequestPlan?
    @exclusivity(unchecked) private var result: Deferred<ClientResponse>?
    @exclusivity(unchecked) private var stage = Stage.over
    private var redirectCount = 0

    private enum Stage {
        case over
        case submitted(Int, Origin, attempt: AnyDeferred?)
        case sent(ClientConnection)
    }

    init(_ request: ClientRequest, by client: HTTPClient) {
        self.request = request
        self.client = client
    }

    func start() -> Deferred<ClientResponse> {
        let result = Deferred<ClientResponse>(on: client.reactor) { [self] _ in cancelled() }
        self.result = result
        submit(needsNew: false)
        return result
    }

    private func submit(needsNew: Bool) {
        do {
            // What cannot be sent fails before it costs a connection.
            plan = try RequestPlan(request, accepts: acceptedCoding)
            _ = try client.origin(of: request.url).submit(self, needsNew: needsNew)
        } catch {
            failed(error)
        }
    }

    /// What is accepted besides what the program says.
    private var acceptedCoding: Bytes? {
        guard client.options.isDecompressing, request.method != .head,
            request.fields[.acceptEncoding] == nil, request.fields[.range] == nil
        else { return nil }
        return ContentCoding.accepted
    }

    func isSubmitted(as number: Int, to origin: Origin) {
        stage = .submitted(number, origin, attempt: nil)
    }

    func isConnecting(_ attempt: AnyDeferred) {
        guard case .submitted(let number, let origin, _) = stage else { return }
        stage = .submitted(number, origin, attempt: attempt)
    }

    func send(on connection: ClientConnection) {
        guard let plan else { mistake("Sending: it has not been checked") }
        stage = .sent(connection)
        connection.send(self, plan)
    }

    /// H-54.
    func sendAgain() {
        wasRepeated = true
        submit(needsNew: true)
    }

    func informed(_ head: ResponseHead) { request.informed?(head) }

    /// The head of the answer has come.
    func answered(
        _ head: ResponseHead, contentLength: Int?, _ body: HTTPBody,
        upgraded connection: ClientConnection?
    ) {
        stage = .over
        guard result != nil else { return }
        do {
            if connection == nil, try redirects(head) { return submit(needsNew: false) }
        } catch {
            return failed(error)
        }
        let result = result.take()
        result?.succeed(
            decompressed(head, body)
                ?? ClientResponse(
                    head, request.url, contentLength: contentLength, body, upgraded: connection))
    }

    // MARK: Compression

    /// - Returns: `nil` for an answer that is delivered as it came.
    private func decompressed(_ head: ResponseHead, _ body: HTTPBody) -> ClientResponse? {
        // A part of a compressed body is none that could be decompressed.
        guard client.options.isDecompressing, body.isOpen, head.status != .partialContent,
            let coding = ContentCoding(head.fields)
        else { return nil }
        var head = head
        head.fields.removeAll { $0 == .contentEncoding || $0 == .contentLength }
        return ClientResponse(
            head, request.url, contentLength: nil, ContentDecoding.body(of: body, coding))
    }

    func failed(_ error: any Error) {
        stage = .over
        let result = result.take()
        result?.fail(error)
    }

    /// H-56.
    private func cancelled() {
        result = nil
        let former = stage
        stage = .over
        switch former {
        case .over: break
        case .submitted(let number, let origin, let attempt):
            origin.withdraw(number)
            attempt?.cancel()
        case .sent(let connection): connection.giveUp()
        }
    }

    // MARK: Redirects

    /// Whether the request is sent to another place; it is changed then.
    private func redirects(_ head: ResponseHead) throws -> Bool {
        guard case .follow(let limit) = client.options.redirects,
            [301, 302, 303, 307, 308].contains(head.status.code),
            let location = head.fields[.location]
        else { return false }
        let keepsMethod = head.status.code == 307 || head.status.code == 308
        // A body that has been sent from a source cannot be sent again: whoever asked decides.
        if keepsMethod, case .source = request.body { return false }
        redirectCount += 1
        guard redirectCount <= limit else {
            throw HTTPClientError.tooManyRedirects(limit: limit)
        }
        let former = request.url
        let text = String(decoding: location)
        guard let url = try? former.resolving(text),
            url.scheme == .https || url.scheme == .http && !former.scheme.isSecure
        else { throw HTTPClientError.badRedirect(text) }
        request.url = url
        wasRepeated = false
        let isPost = request.method == .post
        if !keepsMethod, head.status == .seeOther && request.method != .head || isPost {
            request.method = .get
            request.body = .none
            request.fields.removeAll { Self.ofBody.contains($0) }
        }
        if !url.isOfSameOrigin(as: former) {
            request.fields.removeAll { Self.ofOrigin.contains($0) }
        }
        return true
    }

    /// What describes a body that is sent no more.
    private static let ofBody: [FieldName] = [
        .contentType, .contentEncoding, .contentLanguage, .contentLocation,
    ]
    /// What another origin must not see.
    private static let ofOrigin: [FieldName] = [
        .authorization, .proxyAuthorization, .cookie, .host,
    ]
}
