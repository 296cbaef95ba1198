// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

import TestPrograms
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
                    StreamProxy(to: server) { result in
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

    /// Each end is a plain socket, so that it owes the proxy nothing.
    private struct Half {
        let reactor: Reactor
        let client: Socket, target: Socket
        let outcome = Outcome()

        final class Outcome {
            var text: String?
        }

        init(_ name: String, timeout: Duration) throws {
            let reactor = try Reactor.turned(by: name)
            self.reactor = reactor
            let listening = try Socket.bound()
            try listening.listen()
            let target = ClientEndpoint.address(.ipv4(.loopback, port: listening.port))
            let outcome = outcome
            let port = try reactor.listen(on: .ipv4(.loopback, port: 0)) { _ in
                StreamProxy(to: target, halfClosedTimeout: timeout) { outcome.text = "\($0)" }
            }
            client = try Socket(port: port.localAddress.port!)
            #expect(reactor.turn { reactor.statistics.openConnections == 2 })
            port.stopListening()
            self.target = try listening.accept()
        }
    }

    /// Case E6.
    @Test(arguments: backendNames, [false, true])
    func `a half-closed pair ends, whichever end has gone`(
        name: String, isTargets: Bool
    ) throws {
        let half = try Half(name, timeout: .milliseconds(50))
        let (gone, stays) = isTargets ? (half.target, half.client) : (half.client, half.target)
        gone.endOutput()
        #expect(half.reactor.turn { half.outcome.text != nil })
        #expect(half.outcome.text == "failure(took too long: halfClosed)")
        stays.endOutput()
        #expect(half.reactor.turn { half.reactor.statistics.openConnections == 0 })
        #expect(half.reactor.turn { half.reactor.statistics.openHandles == 0 })
        #expect(half.reactor.statistics.delayedCalls == 0)
        half.reactor.shutDown()
        #expect(half.target.readToEnd() == "" && half.client.readToEnd() == "")
    }

    /// The answer comes later than the timeout, and in pieces that do not.
    @Test(arguments: backendNames)
    func `a half-closed pair goes on as long as something is carried`(name: String) throws {
        let half = try Half(name, timeout: .milliseconds(1_500))
        half.client.endOutput()
        var pieces = 0
        let loop = LoopingCall(on: half.reactor) {
            half.target.write("x")
            pieces += 1
        }
        loop.start(every: .milliseconds(100))
        #expect(half.reactor.turn { pieces == 20 })
        loop.stop()
        half.target.close()
        #expect(half.reactor.turn { half.outcome.text != nil })
        #expect(half.outcome.text?.hasPrefix("success") == true)
        half.reactor.shutDown()
        #expect(half.client.readToEnd() == String(repeating: "x", count: 20))
    }
}
