// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

import TestedBackends
import Testing
import Torsion
@_spi(Backend) import TorsionCore
@testable import TorsionHTTP
import TorsionTesting

/// Counts what would be system calls.
private final class CountingStream: BackendStream {
    let peerAddress = SocketAddress.ipv4(.loopback, port: 1)
    let localAddress = SocketAddress.ipv4(.loopback, port: 2)
    private(set) var receiver: (any StreamReceiver)?
    private(set) var writes: [String] = []
    private(set) var readChanges = 0

    let needsDraining = false

    func deliver(to receiver: any StreamReceiver) { self.receiver = receiver }
    func startReading() { readChanges += 1 }
    func stopReading() { readChanges += 1 }

    func tryWrite(
        _ first: UnsafeRawBufferPointer, _ second: UnsafeRawBufferPointer
    ) -> WriteResult {
        writes.append(
            String(decoding: first, as: UTF8.self) + String(decoding: second, as: UTF8.self))
        return .wrote(first.count + second.count)
    }

    func startWriting(from queue: WriteQueue) {}
    func shutdownWriting() -> ErrorCode? { nil }
    func close() { receiver = nil }
    func reset() { receiver = nil }
}

@Suite struct WriteCountTests {
    @Test func `H-21: sixteen requests of one read are answered by one write, and reading goes on`()
    {
        let clock = ManualClock()
        let stream = CountingStream()
        clock.reactor.adopt(stream, serveHTTP(pathing()))
        let before = stream.readChanges
        for _ in 0..<3 {
            stream.receiver?.streamDidRead(Bytes((0..<16).map { get("/\($0)") }.joined()).span)
        }
        #expect(stream.writes.count == 3)
        #expect(stream.writes.allSatisfy { $0 == (0..<16).map { ok("/\($0)") }.joined() })
        stream.receiver?.streamDidRead(Bytes(get("/one")).span)
        #expect(stream.writes.count == 4 && stream.readChanges == before)
        clock.reactor.shutDown()
    }

    @Test func `a head in two reads costs one write, and no change of reading`() {
        let clock = ManualClock()
        let stream = CountingStream()
        clock.reactor.adopt(stream, serveHTTP(pathing()))
        let before = stream.readChanges
        let bytes = Bytes(get("/a"))
        stream.receiver?.streamDidRead(bytes[..<20].span)
        stream.receiver?.streamDidRead(bytes[20...].span)
        #expect(stream.writes == [ok("/a")] && stream.readChanges == before)
        clock.reactor.shutDown()
    }

    /// Requests over real sockets, one after the other and piled up, with a slow reader.
    @Test(arguments: backends)
    func `requests are answered over sockets of every kind`(backend: BackendChoice) throws {
        let asker = Asker()
        try Reactor.run(backend: backend, signals: .ignore) { reactor in
            let port = try ServerEndpoint.tcp(port: 0, interface: .loopback)
                .listen(on: reactor, http: HTTPServerOptions()) { echoing() }
            ClientEndpoint.address(port.localAddress).connect(on: reactor) { asker }
                .addCallback { asker in
                    let body = String(repeating: "x", count: 200_000)
                    let posts = (0..<5).map {
                        "POST /\($0) HTTP/1.1\r\nHost: a\r\nContent-Length: 200000\r\n\r\n\(body)"
                    }
                    asker.transport?.write(posts.joined() + get("/end", "Connection: close\r\n"))
                    asker.transport?.pauseProducing()
                    reactor.callLater(.milliseconds(20)) { asker.transport?.resumeProducing() }
                }.whenFailed { Issue.record($0) }
            // The client's loss is the end.
            func look() {
                guard asker.loss == nil else {
                    reactor.stop(within: .seconds(5))
                    return
                }
                reactor.callLater(.milliseconds(2)) { look() }
            }
            look()
        }
        #expect(asker.text.utf8.count > 1_000_000 && asker.text.hasSuffix("\r\n\r\nGET /end\n"))
        #expect(asker.loss == .closedByPeer)
        #expect(asker.text.split(separator: "HTTP/1.1 200 OK\r\n").count == 6)
    }
}
