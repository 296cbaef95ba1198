// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

internal import TorsionCore

/// The head of a request, about to be written.
struct RequestPlan {
    let framing: AnswerFraming
    /// Whether it asks for the connection to be closed.
    let closes: Bool
    /// The value of `Accept-Encoding`, if the client adds one.
    private let accepted: Bytes?
    private let capacity: Int

    /// Checks the program's fields.
    init(_ request: ClientRequest, accepts accepted: Bytes?) throws(HTTPClientError) {
        self.accepted = accepted
        var framing = AnswerFraming.none
        switch request.body {
        // A method that usually has a body has none of no bytes without a word (RFC 9110 §8.6).
        case .none: if [.post, .put, .patch].contains(request.method) { framing = .length(0) }
        case .bytes(let bytes): framing = .length(bytes.count)
        case .source(_, let byteCount): framing = byteCount.map { .length($0) } ?? .chunked
        }
        self.framing = framing
        closes = FieldSurvey(request.fields).wantsClose
        // The line's version and spaces, `Host`, the framing's field, `Upgrade`'s names, the end.
        var capacity =
            160 + (accepted.map { $0.count + 20 } ?? 0) + request.method.bytes.count
            + request.url.target.count
        capacity += request.url.host.utf8.count + 16 + (request.upgrade?.count ?? 0)
        for (name, value) in request.fields.pairs {
            let number = name.number
            if number == 2 || number == 3 { throw .reservedField(name) }
            guard isFieldValue(value.span),
                number != FieldName.host.number || Authority.isValid(value.span)
            else { throw .badFieldValue(name) }
            capacity += name.bytes.count + value.count + 4
        }
        if let upgrade = request.upgrade, !isFieldValue(upgrade.span) {
            throw .badFieldValue(.upgrade)
        }
        self.capacity = capacity
    }

    /// Writes the head of the request that it was made for, and a body that is short.
    func write(
        _ request: ClientRequest, to transport: any StreamTransport, inline body: Bytes
    ) {
        transport.write(capacity: capacity + body.count) { output in
            output.withUnsafeMutableBytes { room, count in
                // It has room for a head at least, hence an address.
                var encoder = unsafe AnswerEncoder(room.baseAddress!)
                encode(request, into: &encoder)
                encoder.put(body.span)
                count = encoder.byteCount
            }
        }
    }

    private func encode(_ request: ClientRequest, into encoder: inout AnswerEncoder) {
        let host = request.fields[.host] ?? Bytes(request.url.authority)
        encoder.put(request.method.bytes.span)
        encoder.put(" ")
        encoder.put(request.url.target.span)
        encoder.put(" HTTP/1.1\r\nHost: ")
        encoder.put(host.span)
        encoder.put("\r\n")
        for (name, value) in request.fields.pairs where name.number != FieldName.host.number {
            if request.upgrade != nil, name == .connection || name == .upgrade { continue }
            encoder.put(name.bytes.span)
            encoder.put(": ")
            encoder.put(value.span)
            encoder.put("\r\n")
        }
        if let accepted {
            encoder.put("Accept-Encoding: ")
            encoder.put(accepted.span)
            encoder.put("\r\n")
        }
        if let upgrade = request.upgrade {
            encoder.put("Connection: Upgrade\r\nUpgrade: ")
            encoder.put(upgrade.span)
            encoder.put("\r\n")
        }
        switch framing {
        case .none, .toClose: break
        case .length(let count):
            encoder.put("Content-Length: ")
            encoder.put(decimal: count)
            encoder.put("\r\n")
        case .chunked: encoder.put("Transfer-Encoding: chunked\r\n")
        }
        encoder.put("\r\n")
    }
}
