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

/// Connects each of its clients to a server by two pipes.
private final class Proxy: StreamProtocol {
    let server: ClientEndpoint
    let note: (Result<Int, any Error>) -> Void
    var transports: [any StreamTransport] = []

    init(to server: ClientEndpoint, _ note: @escaping (Result<Int, any Error>) -> Void) {
        self.server = server
        self.note = note
    }

    func connectionMade(_ client: any StreamTransport) {
        client.pauseProducing()
        server.connect(on: client.reactor) { Waiting() }
            .addCallback { [self] waiting in
                guard let server = waiting.transport else { return client.abortConnection() }
                waiting.transport = nil
                transports = [client, server]
                pipe(from: client, to: server).addBoth { [self] in note($0) }
                pipe(from: server, to: client).addBoth { [self] in note($0) }
            }
            .whenFailed { [self] in
                note(.failure($0))
                client.abortConnection()
            }
    }

    func dataReceived(_ bytes: RawSpan, from transport: any StreamTransport) {}

    /// Holds the server's transport until the pipes take over.
    private final class Waiting: StreamProtocol {
        var transport: (any StreamTransport)?

        func connectionMade(_ transport: any StreamTransport) { self.transport = transport }
        func dataReceived(_ bytes: RawSpan, from transport: any StreamTransport) {}
    }
}

@Suite struct ProxyTests {
    @Test(.tags(.slow), arguments: BackendChoice.linked.map(\.name), [false, true])
    func `sixteen megabytes go through two proxies and come back`(
        backend: String, isSlow: Bool
    ) throws {
        let choice = try BackendChoice.named(backend, among: BackendChoice.linked)
        nonisolated(unsafe) var carried: [Int] = []
        nonisolated(unsafe) var errors: [String] = []
        nonisolated(unsafe) var surfer: Surfer?
        nonisolated(unsafe) var most = 0
        try Reactor.run(backend: choice, signals: .ignore) { reactor in
            let place = try ServerEndpoint(parsing: "tcp:0:interface=127.0.0.1")
            let proxies = ProxyList()
            func proxied(_ target: ListeningPort) throws -> ListeningPort {
                let server = ClientEndpoint.address(target.localAddress)
                return try place.listen(on: reactor) {
                    proxies.add(
                        Proxy(to: server) { result in
                            switch result {
                            case .success(let count): carried.append(count)
                            case .failure(let error): errors.append("\(error)")
                            }
                        })
                }
            }
            let port = try proxied(try proxied(try place.listen(on: reactor) { Echo() }))
            let limit = reactor.callLater(.seconds(60)) { reactor.stop(within: .zero) }
            var watch: (() -> Void)?
            watch = {
                most = max(most, proxies.most)
                reactor.callLater(.milliseconds(1)) { watch?() }
            }
            watch?()
            let made = Surfer(isSlow: isSlow) {
                watch = nil
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
        // Each hop holds no more than its mark and one read.
        #expect(most <= Watermarks().high + 256 * 1024)
        #expect(most > Watermarks().low || !isSlow, "no backpressure was met: \(most)")
    }
}

/// The proxies of a test, and what they hold.
private final class ProxyList {
    private var all: [Proxy] = []

    var most: Int { all.flatMap(\.transports).map(\.pendingByteCount).max() ?? 0 }

    func add(_ proxy: Proxy) -> Proxy {
        all.append(proxy)
        return proxy
    }
}
