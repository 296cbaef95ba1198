// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

import TorsionCore
import TorsionProtocols
import TorsionTesting

/// What the protocols of one world saw, and must not see.
final class Ledger {
    private var violations: [String] = []
    private(set) var madeCount = 0
    private(set) var lostCount = 0
    /// Those with a connection; whoever keeps them is none of its business.
    private var connected: [Connected] = []

    private struct Connected {
        weak var proto: Audited?
    }

    init() {}

    init(_ world: SimulatedWorld) {
        world.always { [self] in
            for each in connected { each.proto?.checkInvariants() }
            try check()
        }
    }

    /// Throws for the first that was seen.
    func check() throws {
        if let first = violations.first { throw Violation(description: first) }
    }

    /// Whether every connection that was made has been lost.
    var isQuiet: Bool { madeCount == lostCount }

    func expect(_ condition: Bool, _ text: @autoclosure () -> String) {
        if !condition { violations.append(text()) }
    }

    func made() { madeCount += 1 }

    func lost() { lostCount += 1 }

    fileprivate func made(_ proto: Audited) {
        made()
        connected.append(Connected(proto: proto))
    }

    fileprivate func lost(_ proto: Audited) {
        lost()
        connected.removeAll { $0.proto == nil || $0.proto === proto }
    }
}

/// A protocol that holds its transport to its word: made once, then data, lost once, nothing after.
class Audited: StreamProtocol {
    let ledger: Ledger
    let name: String
    private(set) var transport: (any StreamTransport)?
    private(set) var received = StreamHash()
    private(set) var loss: ConnectionLoss?
    /// The connect failed, so that there was never a connection.
    var hasFailed = false
    /// It asked for its end, after which there is no data any more.
    private var isClosing = false

    init(_ name: String, _ ledger: Ledger) {
        self.name = name
        self.ledger = ledger
    }

    var isOver: Bool { hasFailed || loss != nil }

    func connectionMade(_ transport: any StreamTransport) throws {
        ledger.expect(self.transport == nil && loss == nil, "\(name): connectionMade twice")
        ledger.made(self)
        self.transport = transport
    }

    func dataReceived(_ bytes: RawSpan, from transport: any StreamTransport) throws {
        ledger.expect(self.transport != nil, "\(name): data without a connection")
        ledger.expect(!isClosing, "\(name): data after it closed")
        ledger.expect(bytes.byteCount > 0, "\(name): data without bytes")
        ledger.expect(transport.isDelivering, "\(name): data while paused or closing")
        received.add(bytes)
    }

    func close() {
        isClosing = true
        transport?.loseConnection()
    }

    func shutdownRequested(_ transport: any StreamTransport) { close() }

    /// Asserts what must hold between events: by default of what cuts the stream, if anything does.
    func checkInvariants() {
        (self as? any LineProtocol)?.lines.checkInvariants()
        (self as? any FrameProtocol)?.frames.checkInvariants()
    }

    func connectionLost(_ why: ConnectionLoss, from transport: any StreamTransport) {
        ledger.expect(loss == nil, "\(name): connectionLost twice")
        ledger.expect(self.transport != nil, "\(name): connectionLost without a connection")
        ledger.lost(self)
        loss = why
        self.transport = nil
    }
}

extension [UInt8] {
    /// Whether these bytes stand at that position.
    func hasBytes(_ bytes: RawSpan, at start: Int) -> Bool {
        let end = start + bytes.byteCount
        return end <= count && bytes == Array(self[start..<end])
    }
}

/// Sends a payload in pieces of any size, at leisure, as its consumer allows.
final class Source: PushProducer {
    private enum State { case producing, paused, done }

    private let payload: Bytes
    private let transport: any StreamTransport
    private let ledger: Ledger
    private let whenDone: () -> Void
    private var dice: SeededDice
    private var state = State.producing
    private var isResting = false
    private(set) var sentCount = 0

    init(
        _ payload: [UInt8], to transport: any StreamTransport, _ ledger: Ledger, seed: UInt64,
        whenDone: @escaping () -> Void
    ) {
        self.payload = Bytes(payload)
        self.transport = transport
        self.ledger = ledger
        self.whenDone = whenDone
        dice = SeededDice(seed: seed)
    }

    func start() {
        transport.registerProducer(self)
        send()
    }

    func pauseProducing() {
        ledger.expect(state == .producing, "a producer was paused while \(state)")
        state = .paused
    }

    func resumeProducing() {
        ledger.expect(state == .paused, "a producer was resumed while \(state)")
        state = .producing
        send()
    }

    func stopProducing() {
        ledger.expect(state != .done, "a producer was stopped after its end")
        state = .done
    }

    private func send() {
        while state == .producing, !isResting, sentCount < payload.count {
            let rest = payload.count - sentCount
            let count = min(rest, 1 + dice.below([20, 1_500, 5_000, 20_000][dice.below(4)]))
            let piece = payload[sentCount..<(sentCount + count)]
            sentCount += count
            if dice.percent(50) { transport.write(piece.span) } else { transport.write(piece) }
            if dice.percent(15) { takeBreak(.microseconds(dice.below(20_000))) }
        }
        guard state != .done, sentCount == payload.count, !isResting else { return }
        // A layer that kept the last piece passes it down now, and may pause us once more.
        transport.unregisterProducer()
        state = .done
        whenDone()
    }

    private func takeBreak(_ duration: Duration) {
        isResting = true
        let reactor = transport.reactor
        let due = reactor.now.advanced(by: duration)
        reactor.callLater(duration) { [self] in
            ledger.expect(reactor.now >= due, "a delayed call came too early")
            isResting = false
            send()
        }
    }
}
