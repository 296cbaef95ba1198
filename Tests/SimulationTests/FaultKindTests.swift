// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

import Testing
import Torsion
import TorsionTesting

/// Every kind of fault does what its name says, whether it is asked for by hand, drawn by
/// probability, or named by a script.
@Suite
struct FaultKindTests {
    enum Way: CaseIterable { case byHand, byProbability, byScript }

    /// What a run of the little program showed.
    private struct Outcome {
        var faults: [Fault] = []
        /// What the server read, and in how many reads.
        var text = ""
        var readCount = 0
        /// How many segments of bytes the client sent.
        var segmentCount = 0
        /// The client's queue behind its write.
        var pending = 0
        var failure: ErrorCode?
        var serverLoss: ConnectionLoss?
        var clientLoss: ConnectionLoss?
        var datagrams: [String] = []
        /// When the text was complete, or nothing more could come.
        var elapsed = Duration.zero
        var reports: [String] = []
    }

    private static let message = String(repeating: "twenty bytes at once", count: 100)

    /// Connects, sends two thousand bytes, then three datagrams, and waits for what comes of it.
    private func run(_ world: SimulatedWorld, strike: Fault.Kind? = nil) throws -> Outcome {
        let pair = try Pair(world)
        let server = pair.server, client = pair.client, box = Box()
        let isBeforeConnect: Set<Fault.Kind> = [.refuse, .ignore, .shortage]
        try world.host("server").reactor.listenForDatagrams(on: .ipv4(.any, port: 53), box)
        let port = try world.host("client").reactor
            .listenForDatagrams(on: .ipv4(.any, port: 0), Box())
        if let strike, isBeforeConnect.contains(strike) { world.network.strike(strike) }
        pair.begin(timeout: .seconds(2))
        try world.run {
            pair.failure != nil || client.loss != nil
                || client.transport != nil && server.transport != nil
        }
        if let strike, !isBeforeConnect.contains(strike) { world.network.strike(strike) }
        let start = world.elapsed
        client.transport?.write(Self.message)
        var outcome = Outcome()
        outcome.pending = client.transport?.pendingByteCount ?? 0
        let address = SocketAddress.ipv4(world.host("server").address, port: 53)
        for number in 1...3 { try port.write("\(number)", to: address) }
        if client.transport != nil {
            try world.run {
                server.text == Self.message || server.loss != nil || client.loss != nil
            }
        }
        outcome.elapsed = world.elapsed - start
        try world.run(for: .seconds(60))
        outcome.failure = pair.failure?.code
        outcome.text = server.text
        outcome.readCount = server.readCount
        outcome.serverLoss = server.loss
        outcome.clientLoss = client.loss
        outcome.datagrams = box.texts
        outcome.faults = world.network.faults
        for entry in world.network.trace.entries where entry.connection == 1 {
            if case .sent(.bytes, _) = entry.event { outcome.segmentCount += 1 }
        }
        try world.finish()
        return outcome
    }

    /// The fault of the kind that the script names: the one that it struck by hand.
    private func world(for kind: Fault.Kind, _ way: Way) throws -> SimulatedWorld {
        switch way {
        case .byHand: return SimulatedWorld(seed: 3)
        case .byProbability:
            var rates = FaultRates.none
            // What would never end if each chance were one is drawn for a part of them.
            switch kind {
            case .late, .fullBuffer: rates[kind] = 7_000
            // Seldom enough to connect within the limit.
            case .stall: rates[kind] = 1_000
            default: rates[kind] = 10_000
            }
            return SimulatedWorld(seed: 3, faults: rates)
        case .byScript:
            let byHand = SimulatedWorld(seed: 3)
            let struck = try run(byHand, strike: kind).faults
            return SimulatedWorld(seed: 3, script: struck)
        }
    }

    @Test(arguments: Fault.Kind.allCases, Way.allCases)
    func `a fault does what its name says`(kind: Fault.Kind, way: Way) throws {
        let calm = try run(SimulatedWorld(seed: 3))
        #expect(calm.faults.isEmpty && calm.text == Self.message && calm.readCount == 1)
        #expect(calm.datagrams == ["1", "2", "3"] && calm.elapsed < .milliseconds(1))
        #expect(calm.failure == nil && calm.clientLoss == nil && calm.segmentCount == 1)

        let found = try run(
            try world(for: kind, way), strike: way == .byHand ? kind : nil)
        #expect(found.faults.contains { $0.kind == kind }, "\(found.faults)")
        #expect(found.faults.allSatisfy { $0.kind == kind }, "\(found.faults)")
        if way != .byProbability { #expect(found.faults.count == 1) }
        expectEffect(of: kind, found, isDrawn: way == .byProbability)
    }

    private func expectEffect(of kind: Fault.Kind, _ found: Outcome, isDrawn: Bool) {
        switch kind {
        case .delay: #expect(found.elapsed > .milliseconds(1) && found.text == Self.message)
        case .split: #expect(found.segmentCount > 1 && found.text == Self.message)
        case .cutRead: #expect(found.readCount > 1 && found.text == Self.message)
        case .cutWrite: #expect(found.pending > 0 && found.text == Self.message)
        case .fullBuffer:
            #expect((found.pending > 0 || isDrawn) && found.text == Self.message)
        case .late, .order: #expect(found.text == Self.message)
        case .stall:
            #expect(found.elapsed > .milliseconds(1) || isDrawn)
            #expect(found.text == Self.message)
        case .partition:
            #expect(found.elapsed > .milliseconds(1) && found.text == Self.message)
        case .reset:
            #expect(found.clientLoss?.isClean == false && found.serverLoss?.isClean == false)
        case .end:
            #expect(found.clientLoss?.isClean == false || found.serverLoss?.isClean == false)
        case .refuse: #expect(found.failure == .connectionRefused)
        case .ignore: #expect(found.failure == .timedOut)
        case .shortage: #expect(found.serverLoss == nil && found.text.isEmpty)
        case .lose: #expect(found.datagrams.count < 3)
        case .duplicate: #expect(found.datagrams.count > 3)
        case .reorder:
            #expect(found.datagrams != ["1", "2", "3"])
            #expect(found.datagrams.sorted() == ["1", "2", "3"])
        }
        if ![.lose, .duplicate, .reorder, .partition, .fullBuffer].contains(kind) {
            #expect(found.datagrams.sorted() == ["1", "2", "3"])
        }
    }
}
