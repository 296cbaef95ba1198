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

    private static let browser: String? = {
        let paths = ["/usr/bin/chromium", "/usr/bin/google-chrome"]
        return paths.first { access($0, X_OK) == 0 }
    }()

    @Test(.enabled(if: browser != nil, "no Chromium is installed, as by apt-get install chromium"))
    func `two tabs of a browser talk to each other`() throws {
        let program = try Program("WebSocketChat", ["tcp:0:interface=127.0.0.1"])
        let place = try #require(program.readLine().split(separator: " ").last)
        let driver = try Program(
            path: "python3", ["-c", twoTabs, try #require(Self.browser), "http://\(place)/"])
        driver.endInput()
        #expect(
            driver.readOutput() == "there are 1 of us\nthere are 2 of us\ngrüße\nhello\n")
        #expect(driver.wait() == 0)
        program.signal(SIGTERM)
        #expect(program.wait() == 0)
    }
}

/// Two tabs of a Chromium without a window, driven through a pair of pipes (`--remote-debugging-pipe`).
private let twoTabs = #"""
    import json, os, subprocess, sys, tempfile
    browser, url = sys.argv[1:]
    to_browser, from_us = os.pipe()
    from_browser, to_us = os.pipe()
    for fd in (to_browser, to_us): os.set_inheritable(fd, True)
    folder = tempfile.TemporaryDirectory(ignore_cleanup_errors=True)
    process = subprocess.Popen(
        ["sh", "-c", f'exec "$0" "$@" 3<&{to_browser} 4>&{to_us}', browser, "--headless=new",
         "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run",
         "--remote-debugging-pipe", "--user-data-dir=" + folder.name, "about:blank"],
        close_fds=False, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    os.close(to_browser); os.close(to_us)
    answers = os.fdopen(from_browser, "rb")
    number, rest = 0, b""
    def call(method, parameters={}, session=None):
        global number, rest
        number += 1
        message = {"id": number, "method": method, "params": parameters}
        if session: message["sessionId"] = session
        os.write(from_us, json.dumps(message).encode() + b"\0")
        while True:
            while b"\0" not in rest:
                piece = os.read(from_browser, 65536)
                if not piece: sys.exit("the browser has gone")
                rest += piece
            text, rest = rest.split(b"\0", 1)
            answer = json.loads(text)
            if answer.get("id") == number:
                return answer
    def tab():
        target = call("Target.createTarget", {"url": url})["result"]["targetId"]
        return call("Target.attachToTarget", {"targetId": target, "flatten": True})["result"]["sessionId"]
    def evaluate(session, text):
        while True:
            answer = call("Runtime.evaluate", {"expression": text, "awaitPromise": True}, session)
            # The page has only just come in the place of an empty one.
            if "result" in answer: return answer["result"]["result"].get("value")
    shown = """new Promise(done => { const look = () => {
        const line = [...document.querySelectorAll("li")].find(i => i.textContent == "%s")
        line ? done(line.textContent) : setTimeout(look, 10) }; look() })"""
    try:
        first = tab()
        print(evaluate(first, shown % "there are 1 of us"), flush=True)
        second = tab()
        print(evaluate(first, shown % "there are 2 of us"), flush=True)
        for session, other, text in ((first, second, "grüße"), (second, first, "hello")):
            evaluate(session, "document.getElementById('line').value = '%s'; document.forms[0].requestSubmit()" % text)
            print(evaluate(other, shown % text), flush=True)
    finally:
        process.kill()
        process.wait()
    """#
