// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

import Torsion

/// A mailbox that takes mail: one SMTP session, RFC 5321.
///
/// A line that is too long is answered with 500, a client that is too slow with 421; then the
/// connection closes.
final class SMTPServer: LineProtocol {
    struct Mail: Equatable {
        var sender = ""
        var recipients: [String] = []
        var text = ""
    }

    /// A line has up to 512 bytes with its end, one of a mail up to 1,000 (§4.5.3.1).
    let lines = LineDecoder(limitBytes: 998, terminator: .carriageReturnLineFeed)
    private static let textLimitBytes = 1 << 20
    private static let recipientLimit = 100

    private enum State { case greeted, addressed, inText }

    private var state = State.greeted
    private var mail = Mail()
    private var isTooLong = false
    private let deliver: (Mail) -> Void

    init(_ deliver: @escaping (Mail) -> Void) { self.deliver = deliver }

    func connectionMade(_ transport: any StreamTransport) {
        transport.write("220 mailbox.example ready\r\n")
    }

    func lineTooLong(_ error: LineTooLong, from transport: any StreamTransport) {
        transport.write("500 line too long\r\n")
    }

    func timedOut(_ deadline: ConnectionLoss.Deadline, from transport: any StreamTransport) {
        transport.write("421 mailbox.example: you took too long\r\n")
    }

    func lineReceived(_ line: RawSpan, from transport: any StreamTransport) {
        guard state != .inText else { return textReceived(line, transport) }
        var words = line.reader
        // Of a line that is whole a word is never missing, but it may be none.
        guard let verb = try? words.readWord() else { return transport.write("500 what?\r\n") }
        let rest = String(decoding: words.readRest().trimmed)
        if verb.equalsIgnoringCase("HELO") || verb.equalsIgnoringCase("EHLO") {
            transport.write("250 mailbox.example\r\n")
        } else if verb.equalsIgnoringCase("MAIL") {
            mail = Mail(sender: rest)
            state = .addressed
            transport.write("250 OK\r\n")
        } else if verb.equalsIgnoringCase("RCPT"), state == .addressed {
            guard mail.recipients.count < Self.recipientLimit else {
                return transport.write("452 too many recipients\r\n")
            }
            mail.recipients.append(rest)
            transport.write("250 OK\r\n")
        } else if verb.equalsIgnoringCase("DATA"), !mail.recipients.isEmpty {
            state = .inText
            transport.write("354 end with a dot\r\n")
        } else if verb.equalsIgnoringCase("RSET") || verb.equalsIgnoringCase("NOOP") {
            if verb.equalsIgnoringCase("RSET") { (mail, state) = (Mail(), .greeted) }
            transport.write("250 OK\r\n")
        } else if verb.equalsIgnoringCase("QUIT") {
            transport.write("221 bye\r\n")
            transport.loseConnection()
        } else {
            transport.write("503 not now\r\n")
        }
    }

    /// A dot before a line is left out, a dot alone is the end (§4.5.2).
    private func textReceived(_ line: RawSpan, _ transport: any StreamTransport) {
        guard line == "." else {
            let text = line.first == UInt8(ascii: ".") ? line[1...] : line
            isTooLong = isTooLong || mail.text.utf8.count + text.byteCount > Self.textLimitBytes
            if !isTooLong { mail.text += String(decoding: text) + "\n" }
            return
        }
        if isTooLong {
            transport.write("552 too much\r\n")
        } else {
            deliver(mail)
            transport.write("250 taken\r\n")
        }
        (mail, state, isTooLong) = (Mail(), .greeted, false)
    }
}
