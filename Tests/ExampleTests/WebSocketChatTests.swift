// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

import Glibc
import TestPrograms
import Testing
import Torsion
import TorsionWebSocket

/// Says one thing when it is not alone, and leaves when both have been heard.
private final class Member: WebSocketProtocol {
    let name: String
    private(set) var heard: [String] = []
    private(set) var isLost = false

    init(_ name: String) { self.name = name }

    func messageReceived(
        _ message: RawSpan, _ kind: WebSocketMessage.Kind, from socket: WebSocket
    ) {
        heard.append(String(decoding: message))
        if heard.last == "there are 2 of us" { socket.send("\(name) is here") }
        if heard.filter({ $0.hasSuffix(" is here") }).count == 2 { socket.close() }
    }

    func connectionLost(_ why: WebSocketLoss, from socket: WebSocket) {
        #expect(why.isClean, "\(why)")
        isLost = true
    }
}

@Suite(.serialized) struct WebSocketChatTests {
    @Test func `WebSocketChat has a page, and sends each message to everybody`() throws {
        let program = try Program("WebSocketChat", ["tcp:0:interface=127.0.0.1"])
        let place = try #require(program.readLine().split(separator: " ").last)
        let ann = Member("ann"), bob = Member("bob")
        try Reactor.run(signals: .ignore) { reactor in
            let url = "ws://\(place)/chat"
            WebSocket.connect(url, on: reactor, to: ann)
                .addCallback { _ in WebSocket.connect(url, on: reactor, to: bob) }
                .whenFailed {
                    Issue.record($0)
                    reactor.stop(within: .zero)
                }
            func look() {
                guard !ann.isLost || !bob.isLost else {
                    reactor.stop(within: .seconds(1))
                    return
                }
                reactor.callLater(.milliseconds(1)) { look() }
            }
            look()
        }
        #expect(ann.heard.first == "there are 1 of us" && bob.heard.first == "there are 2 of us")
        #expect(Set(ann.heard.dropFirst(2)) == ["ann is here", "bob is here"])
        #expect(Set(bob.heard.dropFirst()) == ["ann is here", "bob is here"])
        let port = try #require(place.split(separator: ":").last.flatMap { UInt16($0) })
        let browser = try Socket(port: port)
        browser.write("GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
        let page = browser.readToEnd()
        #expect(page.contains("Content-Type: text/html") && page.contains("new WebSocket("))
        browser.close()
        program.signal(SIGTERM)
        #expect(program.wait() == 0)
    }
}
