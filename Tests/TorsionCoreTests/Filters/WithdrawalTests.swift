// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

import Testing
import TorsionCore
import TorsionTesting

/// Waits for a line, answers it, and leaves what came behind it.
private final class Reply: StreamFilter {
    private var line: [UInt8] = []
    private let answer: String

    init(_ answer: String = "") {
        self.answer = answer
        super.init()
    }

    override func begin() {}

    override func receive(_ bytes: RawSpan) {
        line += [UInt8](bytes)
        guard let end = line.firstIndex(of: UInt8(ascii: "\n")) else { return }
        send(Bytes(answer))
        withdraw(unread: Bytes(Array(line[(end + 1)...])).span)
    }
}

/// Says who it is, and is done.
private final class Header: StreamFilter {
    private let unread: String

    init(unread: String = "") {
        self.unread = unread
        super.init()
    }

    override func begin() {
        send(Bytes("header,"))
        withdraw(unread: Bytes(unread).span)
    }
}

private final class Note: StreamProtocol {
    var text = ""
    var loss: ConnectionLoss?
    var whenRead: (String, any StreamTransport) -> Void = { _, _ in }

    func dataReceived(_ bytes: RawSpan, from transport: any StreamTransport) {
        let piece = String(decoding: bytes)
        text += piece
        whenRead(piece, transport)
    }

    func connectionLost(_ why: ConnectionLoss, from transport: any StreamTransport) { loss = why }
}

/// Filters that agree and leave the path: what arrived for those above is theirs.
@Suite struct WithdrawalTests {
    @Test func `what a filter left is not lost by one above that withdraws as it begins`() {
        for pieces in chunkings(of: "ok\nhello") {
            let note = Note()
            let layers = StreamLayers().filtered { Reply() }.filtered { Header() }
            let peer = MemoryTransport(note, layers: layers)
            peer.receive(pieces: pieces)
            peer.receive(" world")
            #expect(note.text == "hello world" && peer.takeText() == "header,")
            #expect(peer.clock.reactor.statistics.queuedBytes == 0)
        }
    }

    @Test func `bytes that both left come in the order of their arrival`() {
        let note = Note()
        let layers = StreamLayers().filtered { Reply() }
            .filtered { Header(unread: "first,") }.filtered { Header() }
        let peer = MemoryTransport(note, layers: layers)
        peer.receive("ok\nsecond")
        #expect(note.text == "first,second")
    }

    @Test func `a filter that comes into a live connection and withdraws leaves what was kept`() {
        let note = Note()
        let peer = MemoryTransport(note)
        note.whenRead = { text, transport in
            guard text == "go" else { return }
            transport.startFilter(Header(), remaining: Bytes("kept,").span)
        }
        peer.receive("go")
        peer.clock.advance(by: .zero)
        peer.receive("later")
        #expect(note.text == "gokept,later" && peer.takeText() == "header,")
    }

    // Nothing can be delivered before the filter's last word has left, and nothing may be dropped.
    @Test(arguments: [false, true])
    func `what arrives while a withdrawn filter still sends is the connection's`(isLive: Bool) {
        let note = Note()
        let layers = isLive ? StreamLayers() : StreamLayers().filtered { Reply("answer") }
        let peer = MemoryTransport(note, roomBytes: 3, layers: layers)
        if isLive {
            peer.transport.startFilter(Reply("answer"))
            peer.clock.advance(by: .zero)
        }
        peer.receive("question\nrest")
        peer.receive(" and more")
        peer.peerCloses()
        #expect(note.text.isEmpty && note.loss == nil)
        peer.drain()
        peer.clock.turn()
        peer.clock.turn()
        #expect(peer.takeText() == "answer")
        #expect(note.text == "rest and more" && note.loss == .closedByPeer)
    }
}
