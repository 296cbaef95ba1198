// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

import Testing
import TorsionTesting

@_spi(Backend) @testable import TorsionCore

@Suite struct QueueAccountTests {
    @Test func `it is over above its limit, until it has fallen by a quarter`() {
        let account = QueueAccount()
        var count = 0
        account.whenOver = { count += 1 }
        account.limitBytes = 100
        account.add(100)
        #expect(!account.isOver)
        account.add(1)
        account.add(50)
        #expect(account.isOver && count == 1)
        account.remove(75)
        account.check(besides: 0)
        #expect(account.isOver)
        account.remove(1)
        account.check(besides: 1)
        #expect(account.isOver)
        account.check(besides: 0)
        #expect(!account.isOver && count == 1)
        account.check(besides: 26)
        #expect(account.isOver && count == 2)
    }

    @Test func `when most of a burst has left, that is told once`() {
        let account = QueueAccount()
        var count = 0
        account.whenDrained = { count += 1 }
        for _ in 0..<100 {
            account.add(1 << 20)
            account.remove(1 << 20)
        }
        #expect(count == 0)
        account.add(8 << 20)
        account.remove(7 << 20)
        account.remove(1 << 19)
        #expect(count == 0)
        account.remove(1)
        account.remove((1 << 19) - 1)
        #expect(count == 1 && account.byteCount == 0)
    }

    @Test func `a queue counts what it allocates, and what it has released`() {
        let account = QueueAccount()
        var queue: WriteQueue? = WriteQueue(countedIn: account)
        [UInt8](repeating: 1, count: 100).withUnsafeBytes { queue?.append(copying: $0) }
        #expect(account.byteCount == 16 * 1_024)
        queue?.append(Bytes([UInt8](repeating: 2, count: 5_000)))
        #expect(account.byteCount == 16 * 1_024 + 5_000)
        queue?.remove(byteCount: 101)
        #expect(account.byteCount == 5_000)
        queue?.remove(byteCount: 4_999)
        #expect(account.byteCount == 0)
        queue?.append(Bytes("more"))
        queue = nil
        #expect(account.byteCount == 0)
    }

    @Test func `kept bytes count until they are used or released`() {
        let account = QueueAccount()
        var kept: KeptBytes? = KeptBytes(countedIn: account)
        kept?.append(Bytes([UInt8](repeating: 1, count: 100)).span)
        #expect(account.byteCount == 100)
        kept?.deliver { kept?.append($0.extracting(10...)) }
        #expect(account.byteCount == 100)
        kept?.deliver { kept?.append($0.extracting(60...)) }
        #expect(account.byteCount == 30)
        kept?.deliver { _ in }
        #expect(account.byteCount == 0)
        kept?.append(Bytes("abc").span)
        kept = nil
        #expect(account.byteCount == 0)
    }

    @Test(arguments: [0, 1, 2])
    func `what connections and filters keep is in the statistics, and goes with them`(
        filters: Int
    ) {
        let layers = (0..<filters).reduce(StreamLayers()) { layers, _ in
            layers.filtered { StreamFilter() }
        }
        let peer = MemoryTransport(Stuck(), roomBytes: 0, layers: layers)
        let reactor = peer.clock.reactor
        #expect(reactor.queueLimitBytes == 1 << 30)
        peer.receive(Bytes([UInt8](repeating: 1, count: 1_000)))
        #expect(reactor.statistics.queuedBytes == 1_000 + 16 * 1_024)
        reactor.checkInvariants()
        peer.peerResets()
        // What the connection itself kept may still be wanted, but not for long.
        peer.clock.advance(by: .seconds(5))
        #expect(reactor.statistics.queuedBytes == 0)
    }

    @Test func `a limit can be set and taken away`() {
        let reactor = ManualClock().reactor
        reactor.queueLimitBytes = 5
        #expect(reactor.queueLimitBytes == 5)
        reactor.queueLimitBytes = nil
        #expect(reactor.queueLimitBytes == nil)
        #expect(reactor.statistics.acceptBackoffs == 0)
    }

    @Test func `a limit that is not positive is a mistake`() async {
        await #expect(processExitsWith: .failure) {
            ManualClock().reactor.queueLimitBytes = 0
        }
    }
}

/// Writes what it reads, pauses, and gives all of it back.
private final class Stuck: StreamProtocol {
    func dataReceived(_ bytes: RawSpan, from transport: any StreamTransport) {
        transport.write(bytes)
        transport.pauseProducing()
        transport.unread(bytes)
    }
}
