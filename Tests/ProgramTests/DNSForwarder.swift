// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

import Torsion

/// Passes the questions of its clients to one server, and the answers back: DNS over UDP, RFC 1035.
///
/// A question that is not answered in time is answered with SERVFAIL.
final class DNSForwarder: DatagramProtocol {
    private struct Question {
        let client: SocketAddress
        let number: UInt16
        let header: Bytes
        let limit: DelayedCall
    }

    private static let questionLimit = 1_000
    private let upstream: Upstream
    private let patience: Duration
    private weak var port: (any DatagramTransport)?
    private var questions: [UInt16: Question] = [:]
    private var numbers = SystemRandomNumberGenerator()

    /// - Throws: `IOError` if the port towards the server cannot be opened.
    init(to server: SocketAddress, on reactor: Reactor, patience: Duration = .seconds(5)) throws {
        upstream = Upstream()
        self.patience = patience
        var options = DatagramOptions()
        options.peerAddress = server
        try DatagramEndpoint.udp(port: 0, options: options).listen(on: reactor) { upstream }
        upstream.forwarder = self
    }

    func transportStarted(_ transport: any DatagramTransport) { port = transport }

    func transportStopped(_ transport: any DatagramTransport) {
        for question in questions.values { question.limit.cancel() }
        questions = [:]
        upstream.transport?.stopListening()
    }

    /// A client asks: the question gets a number that cannot be guessed, so that nobody else can
    /// answer it.
    func datagramReceived(
        _ bytes: RawSpan, from address: SocketAddress, on transport: any DatagramTransport
    ) throws {
        // What is no question, or one too many, is dropped: its client asks again.
        guard bytes.byteCount >= 12, bytes[2] & 0x80 == 0, questions.count < Self.questionLimit,
            let number = bytes.integer(at: 0, as: UInt16.self)
        else { return }
        var own = UInt16.random(in: 0...UInt16.max, using: &numbers)
        while questions[own] != nil { own &+= 1 }
        let limit = transport.reactor.callLater(patience) { [unowned self] in giveUp(own) }
        questions[own] = Question(
            client: address, number: number, header: Bytes(bytes[..<12]), limit: limit)
        try upstream.transport?.write(Self.renumbered(bytes, own).span)
    }

    private func answered(_ bytes: RawSpan) throws {
        guard bytes.byteCount >= 12, bytes[2] & 0x80 != 0,
            let number = bytes.integer(at: 0, as: UInt16.self),
            let question = questions.removeValue(forKey: number)
        else { return }
        question.limit.cancel()
        let answer = Self.renumbered(bytes, question.number)
        try port?.write(answer, to: question.client)
    }

    private func giveUp(_ number: UInt16) {
        guard let question = questions.removeValue(forKey: number) else { return }
        let answer = Bytes { writer in
            writer.writeInteger(question.number)
            // An answer, "server failure", no records.
            writer.writeByte(question.header[2] | 0x80)
            writer.writeByte(2)
            writer.write(repeating: 0, count: 8)
        }
        try? port?.write(answer, to: question.client)
    }

    private static func renumbered(_ bytes: RawSpan, _ number: UInt16) -> Bytes {
        Bytes(reserving: bytes.byteCount) { writer in
            writer.writeInteger(number)
            writer.write(bytes[2...])
        }
    }

    /// The port towards the server, which takes nothing from anybody else.
    private final class Upstream: DatagramProtocol {
        weak var forwarder: DNSForwarder?
        private(set) var transport: (any DatagramTransport)?

        func transportStarted(_ transport: any DatagramTransport) { self.transport = transport }
        func transportStopped(_ transport: any DatagramTransport) { self.transport = nil }
        func datagramReceived(
            _ bytes: RawSpan, from address: SocketAddress, on transport: any DatagramTransport
        ) throws { try forwarder?.answered(bytes) }
        func datagramFailed(_ error: IOError, on transport: any DatagramTransport) {}
    }
}
