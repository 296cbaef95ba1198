// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

import TestPrograms
import Testing
import Torsion
import TorsionTesting

/// Gives each client a clock.
private final class Watch: PortObserver {
    private let timeouts: Timeouts
    init(_ timeouts: Timeouts) { self.timeouts = timeouts }
    func clientArrived(from peer: SocketAddress) -> (any ConnectionObserver)? {
        TimeoutObserver(timeouts)
    }
}

@Suite struct SMTPServerTests {
    @Test(.enabled(if: isInstalled("curl")))
    func `curl sends a mail`() throws {
        let mails = try runProgram { reactor in
            var mails: [SMTPServer.Mail] = []
            let port = try ServerEndpoint.tcp(port: 0, interface: .loopback)
                .timeouts(Timeouts(request: .seconds(30), idle: .seconds(300)))
                .listen(on: reactor) { SMTPServer { mails.append($0) } }
            let text = "/tmp/torsion-mail-\(try #require(port.localAddress.port))"
            let shell = "printf 'Subject: hi\\r\\n\\r\\n.dot\\r\\nbye\\r\\n' >\(text)"
            _ = try await output(of: "sh", ["-c", shell], on: reactor)
            let said = try await output(
                of: "curl",
                [
                    "-sS", "--mail-from", "ann@example.org", "--mail-rcpt", "bob@example.org",
                    "--upload-file", text, "smtp://\(port.localAddress)",
                ], on: reactor)
            #expect(said == "")
            _ = try await output(of: "rm", [text], on: reactor)
            return mails
        }
        #expect(mails.count == 1)
        #expect(mails.first?.sender.hasPrefix("FROM:<ann@example.org>") == true)
        #expect(mails.first?.recipients == ["TO:<bob@example.org>"])
        #expect(mails.first?.text == "Subject: hi\n\n.dot\nbye\n")
    }

    @Test func `a line that is too long is answered with 500, a slow client with 421`() throws {
        let timeouts = Timeouts(request: .seconds(30), idle: .seconds(300))
        let slow = MemoryTransport(
            SMTPServer { _ in }, layers: StreamLayers().observed(byPort: { Watch(timeouts) }))
        #expect(slow.takeText() == "220 mailbox.example ready\r\n")
        slow.receive("HELO me\r\nMAIL FR")
        #expect(slow.takeText() == "250 mailbox.example\r\n")
        slow.clock.advance(by: .seconds(30))
        #expect(slow.takeText() == "421 mailbox.example: you took too long\r\n")
        #expect(slow.hasEnded && !slow.wasReset)

        for pieces in chunkings(of: Bytes("HELO me\r\n")) {
            let long = MemoryTransport(SMTPServer { _ in })
            long.receive(pieces: pieces)
            _ = long.takeText()
            long.receive(String(repeating: "x", count: 1_001))
            #expect(long.takeText() == "500 line too long\r\n")
            #expect(long.hasEnded && !long.wasReset)
        }
    }

    @Test func `the dots of a text are undone, however it is cut`() {
        let session =
            "EHLO a\r\nMAIL FROM:<a>\r\nDATA\r\nRCPT TO:<b>\r\nDATA\r\n..\r\n..a\r\n.\r\nQUIT\r\n"
        for pieces in chunkings(of: Bytes(session)) {
            var mails: [SMTPServer.Mail] = []
            let peer = MemoryTransport(SMTPServer { mails.append($0) })
            peer.receive(pieces: pieces)
            let codes = peer.takeText().split(separator: "\r\n").map { $0.prefix(3) }
            #expect(codes == ["220", "250", "250", "503", "250", "354", "250", "221"])
            #expect(mails.map(\.text) == [".\n.a\n"])
        }
    }
}
