// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

@_spi(Backend) public import TorsionCore

/// Checks that a protocol above a filter finds what `StreamTransport` promises.
///
/// Both ends of a connection in memory get the filter, so that it may change the bytes on their way
/// as long as the other end changes them back. Time is a ``ManualClock``'s.
///
///     @Test func `my filter keeps the contract`() throws {
///         try checkTransport { Scrambler(key: 42) }
///     }
///
/// - Parameter filter: Makes a new filter; called for each end. Without one the engine's own transport
///   is checked.
/// - Throws: ``CheckFailure``, which says what did not hold.
public func checkTransport(_ filter: FilterMaker? = nil) throws {
    let layers = filter.map { StreamLayers().filtered(by: $0) } ?? StreamLayers()
    let checks = [
        checkOrder, checkWrites, checkPausing, checkDrops, checkThrowing, checkProducerIsServed,
    ]
    for check in checks { try check(layers) }
}

/// Two ends in memory, and the wire between them.
private final class Wire {
    let clock = ManualClock()
    let near = Recorder()
    let far = Recorder()
    private let nearEnd: MemoryTransport
    private let farEnd: MemoryTransport
    private var nearReported = false
    private var farReported = false

    init(_ layers: StreamLayers, roomBytes: Int = .max) {
        nearEnd = MemoryTransport(near, clock: clock, roomBytes: roomBytes, layers: layers)
        farEnd = MemoryTransport(far, clock: clock, layers: layers)
    }

    /// The near end's peer takes what it had no room for.
    func drain() { nearEnd.drain() }

    /// Carries what either end sends to the other, and its end, until nothing moves.
    func carry() {
        for _ in 0..<8 {
            carry(from: nearEnd, to: farEnd, &farReported)
            carry(from: farEnd, to: nearEnd, &nearReported)
            clock.turn()
        }
    }

    private func carry(from: MemoryTransport, to: MemoryTransport, _ isTold: inout Bool) {
        let bytes = from.takeBytes()
        if !bytes.isEmpty { to.receive(bytes) }
        guard from.hasEnded, !isTold else { return }
        isTold = true
        if from.wasReset { to.peerResets() } else { to.peerCloses() }
    }
}

// S1, S5
private func checkOrder(_ layers: StreamLayers) throws {
    let wire = Wire(layers)
    wire.carry()
    try expect(wire.near.transport != nil, "connectionMade was not called")
    wire.near.transport.write("last words")
    wire.near.transport.loseConnection()
    wire.carry()
    try expectEqual(wire.far.events, [.made, .data("last words"), .lost(.closedByPeer)])
    try expectEqual(wire.near.events, [.made, .lost(.closedLocally)])
}

// S10
private func checkWrites(_ layers: StreamLayers) throws {
    let wire = Wire(layers)
    wire.carry()
    let transport: any StreamTransport = wire.near.transport
    transport.write("one,")
    transport.write([0x74, 0x77, 0x6f, 0x2c])
    transport.write(Bytes("three,").span)
    transport.write(Bytes(String(repeating: "x", count: 10_000)))
    wire.carry()
    try expectEqual(wire.far.text, "one,two,three," + String(repeating: "x", count: 10_000))
}

// S8
private func checkPausing(_ layers: StreamLayers) throws {
    let wire = Wire(layers)
    wire.far.onData = { text, transport in if text.hasPrefix("a") { transport.pauseProducing() } }
    wire.carry()
    wire.near.transport.write("a")
    wire.carry()
    wire.near.transport.write("b")
    wire.carry()
    try expectEqual(wire.far.text, "a")
    try expect(!wire.far.transport.isDelivering, "isDelivering after pauseProducing")
    wire.far.transport.resumeProducing()
    wire.carry()
    try expectEqual(wire.far.text, "ab")
}

// S2
private func checkDrops(_ layers: StreamLayers) throws {
    let wire = Wire(layers)
    wire.near.onLost = { _, transport in
        transport.write("after the loss")
        transport.loseConnection()
        transport.abortConnection()
    }
    wire.carry()
    let transport: any StreamTransport = wire.near.transport
    transport.write("before")
    transport.loseConnection()
    transport.write("after")
    wire.carry()
    try expectEqual(wire.far.text, "before")
    try expectEqual(wire.near.events.count, 2)
}

// S5
private func checkThrowing(_ layers: StreamLayers) throws {
    let wire = Wire(layers)
    wire.far.onData = { _, _ in throw Mishap() }
    wire.carry()
    wire.far.transport.reactor.unhandledError = { _ in }
    wire.near.transport.write("x")
    wire.carry()
    try expectEqual(wire.far.loss, .protocolFailed(Mishap()))
    try expect(wire.near.loss.map { !$0.isClean } ?? false, "the other end was not told")
}

// P3, P7, S4
private func checkProducerIsServed(_ layers: StreamLayers) throws {
    let wire = Wire(layers, roomBytes: 2_000)
    let producer = CountingProducer()
    wire.carry()
    let transport: any StreamTransport = wire.near.transport
    transport.registerProducer(producer)
    transport.watermarks = Watermarks(low: 1_000, high: 8_000, limit: 100_000)
    // More than a filter may hold and the marks allow.
    transport.write([UInt8].pattern(count: 40_000))
    transport.write("and more")
    wire.carry()
    try expectEqual(producer.calls, ["pause"])
    wire.drain()
    wire.carry()
    try expectEqual(producer.calls, ["pause", "resume"])
    transport.loseConnection()
    wire.carry()
    try expect(wire.near.loss == nil, "loseConnection did not wait for the producer")
    transport.write("the last")
    transport.unregisterProducer()
    wire.carry()
    try expect(wire.far.loss != nil && wire.far.text.hasSuffix("the last"), "the last is missing")
}
