// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

import TorsionCore
import TorsionHTTP
import TorsionWebSocket

@c(LLVMFuzzerTestOneInput)
func fuzz(_ start: UnsafePointer<UInt8>?, _ count: Int) -> CInt {
    guard let input = FuzzInput(UnsafeRawBufferPointer(start: start, count: count)) else {
        return 0
    }
    if input.choice & 1 == 0 { asServer(input) } else { asClient(input) }
    return 0
}

private func options(_ choice: Int) -> WebSocketOptions {
    var options = WebSocketOptions()
    options.subprotocols = ["chat", "b"]
    guard choice & 2 == 0 else { return options }
    options.compression = WebSocketCompression()
    options.compression?.keepsContext = choice & 4 != 0
    options.compression?.peerKeepsContext = choice & 8 != 0
    return options
}

// MARK: A server

/// A request's fields, behind those that make it one for a WebSocket unless they are to be found too.
private func asServer(_ input: FuzzInput) {
    let rest = Bytes(input.stream)
    let usual: Bytes =
        "GET / HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        + "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n"
    let text = input.choice & 16 == 0 ? usual + rest + "\r\n\r\n" : rest
    let held = HeldHead(limits: HeadLimits())
    guard case .complete = held.add(text.span) else { return }
    let head = held.withHead { $0.copied() }
    let offered = WebSocketExtension.list(head.fields.all(.secWebSocketExtensions))
    let options = options(input.choice)
    guard let handshake = try? ServerHandshake(head, options) else { return }
    expect(offered != nil, "a list that is none was taken")
    let fields = handshake.fields([:])
    for field in fields {
        expect(field.value.allSatisfy { $0 >= 0x20 && $0 < 0x7f }, "\(field.value)")
    }
    expect(fields.all(.secWebSocketAccept).first?.count == 28, "no accepting key")
    if let chosen = handshake.terms.subprotocol {
        expect(options.subprotocols.contains(chosen), "\(chosen) is none of the server's")
    }
    expectKept(handshake.terms.compression, by: options, isServer: true)
    // What a server answers, it reads itself as one extension.
    let answer = WebSocketExtension.list(fields.all(.secWebSocketExtensions))
    expect(answer?.count == (handshake.terms.compression == nil ? 0 : 1), "\(answer as Any)")
}

private func expectKept(
    _ agreement: CompressionAgreement?, by options: WebSocketOptions, isServer: Bool
) {
    guard let agreement else { return }
    guard let wanted = options.compression else {
        return expect(false, "compression was agreed on that nobody wants")
    }
    let (own, peers) =
        isServer
        ? (agreement.serverKeepsContext, agreement.clientKeepsContext)
        : (agreement.clientKeepsContext, agreement.serverKeepsContext)
    expect(wanted.keepsContext || !own, "a context is kept")
    expect(wanted.peerKeepsContext || !peers, "the peer's context is kept")
    for bits in [agreement.serverWindowBits, agreement.clientWindowBits] {
        expect(8...15 ~= bits ?? 15, "a window of \(bits ?? 0) bits")
    }
}

// MARK: A client

/// An answer's fields, behind those that make it right.
private func asClient(_ input: FuzzInput) {
    let options = options(input.choice)
    guard let url = try? HTTPURL(parsing: "ws://a/"),
        let handshake = try? ClientHandshake(
            url, nonce: [UInt8](repeating: 7, count: 16), options, fields: [:])
    else { return expect(false, "a client cannot ask") }
    let usual = Bytes(
        "HTTP/1.1 101 S\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            + "Sec-WebSocket-Accept: \(acceptOfSevens)\r\n")
    let rest = Bytes(input.stream)
    let text = input.choice & 16 == 0 ? usual + rest + "\r\n\r\n" : rest
    var reader = AnswerReader(limits: HeadLimits())
    reader.begin(.get, mayUpgrade: true)
    var position = 0
    guard case .head(let head)? = try? reader.next(text.span, &position),
        let terms = try? handshake.accept(head)
    else { return }
    expect(head.status == .switchingProtocols, "\(head.status) is taken for an upgrade")
    if let chosen = terms.subprotocol {
        expect(options.subprotocols.contains(chosen), "\(chosen) was not offered")
    }
    expectKept(terms.compression, by: options, isServer: false)
}

/// What a server answers to a key of sixteen sevens.
private let acceptOfSevens = "CdXSYUsvsaMthlEXWDNURGWA/1o="
