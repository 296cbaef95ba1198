// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors
import Torsion
import TorsionHTTP
import TorsionWebSocket

/// Sends each message to everybody in the room.
final class Chat: WebSocketProtocol {
    let room: WebSocketBroadcast
    init(_ room: WebSocketBroadcast) { self.room = room }

    func connectionMade(_ socket: WebSocket) {
        room.add(socket)
        room.send("there are \(room.count) of us")
    }

    func messageReceived(_ message: RawSpan, _ kind: WebSocketMessage.Kind, from: WebSocket) {
        room.send(EncodedMessage(message, kind))
    }
}

/// Answers with a page, and with the chat where that connects to.
final class Site: HTTPResponder {
    let room = WebSocketBroadcast()
    let page: Bytes = """
        <title>Chat</title><ul id=all></ul><form><input id=line autofocus></form><script>
        const socket = new WebSocket("ws://" + location.host + "/chat")
        socket.onmessage = e => all.appendChild(document.createElement("li")).textContent = e.data
        document.forms[0].onsubmit = () => { socket.send(line.value); return false }</script>
        """
    func requestReceived(_ head: borrowing RequestHead, _ exchange: consuming HTTPExchange) {
        if head.path == "/chat" { return exchange.upgrade(toWebSocket: Chat(room), for: head) }
        exchange.respond(.ok, [.contentType: "text/html"], body: page)
    }
}
Reactor.main { [site = Site()] reactor in
    let place = try ServerEndpoint(parsing: CommandLine.arguments.dropFirst().first ?? "tcp:8080")
    let port = try place.listen(on: reactor, http: HTTPServerOptions()) { site }
    print("listening on \(port.localAddress)")
}
