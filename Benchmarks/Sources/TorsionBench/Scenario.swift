// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

/// Work that is given to every server alike; one file in `Scenarios/` for each.
struct Scenario: Sendable {
    enum Load: String, Sendable {
        case echo, connect, idle, datagrams, secure
        case http = "hello"
        case secureIdle = "secure-idle"
        case secureConnect = "secure-connect"
        case secureResume = "secure-resume"
        case httpIdle = "hello-idle"
        case redisSet = "redis-set"
        case redisGet = "redis-get"
        case webSocket = "websocket"
    }

    let name: String
    let summary: String
    /// What a message is called in the table.
    var unit = "message"
    var load = Load.echo
    let connections: Int
    /// Further connections of an echo that have said one thing and wait.
    var idleConnections = 0
    /// Whether it takes too long for a quick run, and gets fewer rounds in a full one.
    var isSlow = false
    /// The servers that take part; nil for all but the other faces of an engine.
    var servers: Set<String>?
    var size = 64
    /// Of an HTTP request: 3, as curl sends them, or 10, as a browser.
    var fields = 3
    /// Of an HTTP request.
    var target = "/"
    /// Bytes of an HTTP request's body, which makes it a POST.
    var body = 0
    /// Messages in flight on each connection.
    var depth = 1
    /// Whether the next `depth` messages wait until all of the last have come back.
    var isBurst = false
    var framing = Server.Framing.raw
    /// Two lengths, in messages: what the longer run costs more than the shorter is the price of the
    /// messages alone, without starting, connecting and ending.
    var countedLengths = (short: 2_000, long: 6_000)
    /// What a server's CPU for a message may cost, in terms of another's.
    var bounds: [Bound] = []

    static let all = [
        echoOneConnection, echo64Connections, echo64Async, echoCrowd, echo1000Connections,
        echoPipelined, echoBulk, echoUDP, echoUDPBursts, connectAndClose, idleConnections,
        httpHello, httpBrowser, httpPipelined, httpBrowserPipelined, httpPost, httpFile,
        echoWebSocket, secure64Connections, secureBulk, secureConnect, secureResume,
        redisSet, redisGet, redisSetPipelined, redisGetPipelined,
    ]

    func admits(_ server: Server) -> Bool {
        servers.map { $0.contains(server.name) } ?? !server.isFace
    }
}

/// `server` needs at most `factor` times the CPU for a message that the reference does.
struct Bound: Sendable {
    enum Reference: Sendable {
        case server(String)
        /// The C server that needs the least, whichever it is in this run.
        case bestTwin
    }

    let server: String
    let factor: Double
    let reference: Reference

    /// Each backend against the C server over the same kernel interface.
    static func backends(within factor: Double) -> [Bound] {
        [("libuv", "libuv-c"), ("epoll", "epoll-c"), ("io_uring", "uring-c")].map {
            Bound(server: "torsion-\($0.0)", factor: factor, reference: .server($0.1))
        }
    }

    /// Where completions have nothing to win over readiness they must not lose either.
    static let ringAsGoodAsEpoll = Bound(
        server: "torsion-io_uring", factor: 1, reference: .server("torsion-epoll"))
}
