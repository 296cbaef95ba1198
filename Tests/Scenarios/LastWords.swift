// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

import TorsionCore
import TorsionTesting

extension Scenario {
    /// A server answers and closes in the middle of an upload.
    ///
    /// The answer arrives in full, and a client that neither reads nor ends cannot hold the server.
    static let lastWords = Scenario("lastWords") { world in
        let ledger = Ledger(world)
        world.vary()
        let answer = world.payload()
        var options = StreamOptions()
        options.closeTimeout = .seconds(20)
        var servers: [Hasty] = []
        try world.host("server").run { reactor in
            try reactor.listen(on: .ipv4(.any, port: 7), options: options) { _ in
                servers.append(Hasty(ledger, answer: answer))
                return servers.last
            }
        }
        let clients = try Uploader.start(
            count: 1 + world.dice.below(3), in: world, ledger, isEchoed: false)
        try world.run(limit: .seconds(600)) {
            servers.allSatisfy(\.isOver)
                && clients.allSatisfy { $0.isOver || $0.isDeaf && $0.isConnected }
                // A client of TLS 1.3 is connected when its last message has left, changed or not.
                && (world.network.isDamaged
                    || servers.count >= clients.count(where: \.isConnected))
        }
        let hash = StreamHash(answer)
        for client in clients where world.isCalm && !client.isDeaf {
            guard client.hasClosedOrUploaded, client.received == hash else {
                throw Violation(
                    description: "\(client.name) has \(client.received.byteCount) of "
                        + "\(answer.count) bytes and \(client.loss as Any)")
            }
        }
        for client in clients { client.leave() }
        try world.run { clients.allSatisfy(\.isOver) && ledger.isQuiet }
    }
}

extension Uploader {
    /// Whether it saw the server's end, or a reset because it went on to upload long after that.
    fileprivate var hasClosedOrUploaded: Bool {
        switch loss {
        case .closedByPeer: true
        case .failed(let error): error.code == .connectionReset || error.code == .brokenPipe
        default: false
        }
    }
}

/// Answers the first bytes, whatever they are, and closes.
final class Hasty: Audited {
    private let answer: [UInt8]
    private var hasAnswered = false

    init(_ ledger: Ledger, answer: [UInt8]) {
        self.answer = answer
        super.init("server", ledger)
    }

    override func dataReceived(_ bytes: RawSpan, from transport: any StreamTransport) throws {
        try super.dataReceived(bytes, from: transport)
        guard !hasAnswered else { return }
        hasAnswered = true
        transport.write(Bytes(answer))
        close()
    }
}
