// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

@_spi(Backend) internal import TorsionCore

extension ConformanceSuite {
    // P7
    static let threeHops = Check(
        "64 MB reach a reader that pauses at random over three hops, none of which holds much",
        isSlow: true
    ) { backend in
        let world = try World(backend)
        let reader = RandomReader(seed: 7)
        let last = try world.reactor.listen(on: World.loopback) { _ in reader }
        let second = try ProxyHop(to: last, in: world)
        let first = try ProxyHop(to: second.port, in: world)
        let source = try BulkSource(byteCount: 64 << 20, to: first.port, in: world)

        try world.run(limit: .seconds(240)) {
            reader.loss != nil && source.loss != nil && first.isOver && second.isOver
        }
        try expectEqual(reader.byteCount, 64 << 20)
        try expectEqual(reader.hash, source.hash)
        try expectEqual([first.errors, second.errors], [[], []])
        for hop in [source.meter, first.meter, second.meter] {
            // What one read brings is one write.
            let bound = Watermarks().high + hop.largestWrite
            try expect(hop.most <= bound, "\(hop.most) bytes queued, more than \(bound)")
            try expect(hop.most > Watermarks().low, "no backpressure was met: \(hop.most)")
        }
        for port in [last, first.port, second.port] { port.stopListening() }
        // What the reader still had to resume.
        world.run(for: .milliseconds(5))
        try world.finish()
    }
}

/// What the queue of a hop held at most.
private final class QueueMeter: @unchecked Sendable {
    // `@unchecked`: makers of observers are Sendable, and this one stays on its world's thread.
    private(set) var most = 0
    private(set) var largestWrite = 0

    func note(_ byteCount: Int, pending: Int) {
        largestWrite = max(largestWrite, byteCount)
        most = max(most, pending)
    }
}

/// Notes what is queued after each write.
private final class MeteringObserver: ConnectionObserver {
    private let meter: QueueMeter

    init(_ meter: QueueMeter) { self.meter = meter }

    func didWrite(_ bytes: RawSpan, of transport: any StreamTransport) {
        meter.note(bytes.byteCount, pending: transport.pendingByteCount)
    }
}

/// A relay with its queue metered, in the direction to its target.
private final class ProxyHop {
    let meter = QueueMeter()
    let port: ListeningPort
    private let report = Report()

    private final class Report {
        var errors: [String] = []
        var isOver = false
    }

    var errors: [String] { report.errors }
    var isOver: Bool { report.isOver }

    init(to target: ListeningPort, in world: World) throws {
        let server = ClientEndpoint.address(target.localAddress)
            .observed { [meter] in MeteringObserver(meter) }
        port = try world.reactor.listen(on: World.loopback) { [report] _ in
            StreamProxy(to: server) { result in
                report.isOver = true
                if case .failure(let error) = result { report.errors.append("\(error)") }
            }
        }
    }
}

/// Sends pieces of many sizes as fast as it may, and ends.
private final class BulkSource: StreamProtocol, PushProducer {
    let meter = QueueMeter()
    private(set) var hash = StreamHash()
    private(set) var loss: ConnectionLoss?
    private let pattern = [UInt8].pattern(count: 1 << 20)
    private var left: Int
    private var isPaused = false
    private var transport: (any StreamTransport)?

    init(byteCount: Int, to port: ListeningPort, in world: World) throws {
        left = byteCount
        var failure: (any Error)?
        ClientEndpoint.address(port.localAddress)
            .observed { [meter] in MeteringObserver(meter) }
            .connect(on: world.reactor) { self }
            .whenFailed { failure = $0 }
        try world.run { failure != nil || transport != nil }
        if let failure { throw failure }
    }

    func connectionMade(_ transport: any StreamTransport) {
        self.transport = transport
        transport.registerProducer(self)
        produce()
    }

    private func produce() {
        let pattern = pattern
        while let transport, !isPaused {
            guard left > 0 else {
                transport.unregisterProducer()
                return transport.loseConnection()
            }
            // From single bytes to sixty thousand, from anywhere in the pattern.
            let count = min(left, 1 + left % 60_013)
            let start = left % (pattern.count - count)
            let piece = unsafe pattern.span.bytes.extracting(start..<(start + count))
            left -= count
            hash.add(piece)
            transport.write(piece)
        }
    }

    func dataReceived(_ bytes: RawSpan, from transport: any StreamTransport) {}

    func connectionLost(_ why: ConnectionLoss, from transport: any StreamTransport) {
        loss = why
        self.transport = nil
    }

    func pauseProducing() { isPaused = true }

    func resumeProducing() {
        isPaused = false
        produce()
    }

    func stopProducing() {}
}

/// Pauses after one read in four, for up to two milliseconds.
private final class RandomReader: StreamProtocol {
    private(set) var hash = StreamHash()
    private(set) var loss: ConnectionLoss?
    private var dice: SeededDice

    init(seed: UInt64) { dice = SeededDice(seed: seed) }

    var byteCount: Int { hash.byteCount }

    func dataReceived(_ bytes: RawSpan, from transport: any StreamTransport) {
        hash.add(bytes)
        guard dice.percent(25) else { return }
        transport.pauseProducing()
        transport.reactor.callLater(.microseconds(dice.below(2_000))) {
            transport.resumeProducing()
        }
    }

    func connectionLost(_ why: ConnectionLoss, from transport: any StreamTransport) { loss = why }
}
