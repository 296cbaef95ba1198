// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

import Testing
import Torsion
import TorsionTesting

private let wholeByteCount = 16 << 20

private let wave = [UInt8].pattern(count: wholeByteCount)
private let hashOfWave = StreamHash(wave)

/// Answers with what it hears, and ends when its client has.
private final class Echo: HalfCloseableProtocol {
    func dataReceived(_ bytes: RawSpan, from transport: any StreamTransport) {
        transport.write(bytes)
    }

    func readConnectionLost(from transport: any StreamTransport) { transport.loseWriteConnection() }
    func writeConnectionLost(from transport: any StreamTransport) {}
}

/// Sends the wave and its end, and hashes what comes back, at leisure if it is slow.
private final class Surfer: HalfCloseableProtocol {
    var hash = StreamHash()
    var events: [String] = []
    let isSlow: Bool
    let whenLost: () -> Void
    private var sent = 0
    private var received = 0
    private var isPaused = false
    private var transport: (any StreamTransport)?

    init(isSlow: Bool, whenLost: @escaping () -> Void) {
        self.isSlow = isSlow
        self.whenLost = whenLost
    }

    func connectionMade(_ transport: any StreamTransport) {
        self.transport = transport
        transport.registerProducer(self)
        send()
    }

    func dataReceived(_ bytes: RawSpan, from transport: any StreamTransport) {
        hash.add(bytes)
        received += bytes.byteCount
        guard isSlow, received > 1 << 20 else { return }
        received = 0
        transport.pauseProducing()
        transport.reactor.callLater(.milliseconds(2)) { transport.resumeProducing() }
    }

    private func send() {
        while !isPaused, sent < wave.count {
            let next = min(wave.count, sent + 60_000)
            let piece = wave.span.bytes.extracting(sent..<next)
            sent = next
            transport?.write(piece)
        }
        guard !isPaused, sent == wave.count, events.isEmpty else { return }
        events.append("sent")
        transport?.unregisterProducer()
        transport?.loseWriteConnection()
    }

    func readConnectionLost(from transport: any StreamTransport) { events.append("read lost") }
    func writeConnectionLost(from transport: any StreamTransport) { events.append("write lost") }

    func connectionLost(_ why: ConnectionLoss, from transport: any StreamTransport) {
        events.append("\(why)")
        self.transport = nil
        whenLost()
    }
}

extension Surfer: PushProducer {
    func pauseProducing() { isPaused = true }

    func resumeProducing() {
        isPaused = false
        send()
    }

    func stopProducing() {}
}

@Suite struct ProxyTests {
    @Test(.tags(.slow), arguments: testedBackends.map(\.name), [false, true])
    func `sixteen megabytes go through two proxies and come back`(
        backend: String, isSlow: Bool
    ) throws {
        let choice = try BackendChoice.named(backend, among: testedBackends)
        nonisolated(unsafe) var carried: [Int] = []
        nonisolated(unsafe) var errors: [String] = []
        nonisolated(unsafe) var surfer: Surfer?
        try Reactor.run(backend: choice, signals: .ignore) { reactor in
            let place = try ServerEndpoint(parsing: "tcp:0:interface=127.0.0.1")
            func proxied(_ target: ListeningPort) throws -> ListeningPort {
                let server = ClientEndpoint.address(target.localAddress)
                return try place.listen(on: reactor) {
                    Relay(to: server) { result in
                        switch result {
                        case .success(let bytes): carried += [bytes.toTarget, bytes.toClient]
                        case .failure(let error): errors.append("\(error)")
                        }
                    }
                }
            }
            let port = try proxied(try proxied(try place.listen(on: reactor) { Echo() }))
            let limit = reactor.callLater(.seconds(60)) { reactor.stop(within: .zero) }
            let made = Surfer(isSlow: isSlow) {
                limit.cancel()
                reactor.stop(within: .seconds(5))
            }
            surfer = made
            ClientEndpoint.address(port.localAddress).connect(on: reactor) { made }
                .whenFailed { errors.append("\($0)") }
        }
        #expect(surfer?.hash == hashOfWave)
        #expect(surfer?.events == ["sent", "write lost", "closed by the peer"])
        #expect(carried == [Int](repeating: wholeByteCount, count: 4))
        #expect(errors.isEmpty)
    }
}
