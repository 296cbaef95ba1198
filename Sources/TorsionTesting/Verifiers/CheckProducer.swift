// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

@_spi(Backend) public import TorsionCore

/// Checks that a producer heeds being paused, resumed and stopped.
///
///     @Test func `my producer is polite`() throws {
///         try checkProducer(push: { consumer, reactor in Ticks(to: consumer, on: reactor) })
///     }
///
/// - Parameter make: Makes a producer that begins to write to the consumer by itself, by delayed
///   calls of the reactor, which lives by a ``ManualClock``; it may register itself.
/// - Throws: ``CheckFailure``, which says what did not hold: a producer must write within an hour
///   of that clock unless it is paused, and must not write while it is paused or once it is
///   stopped.
public func checkProducer(
    push make: (_ consumer: any Consumer, _ reactor: Reactor) throws -> any PushProducer
) throws {
    let clock = ManualClock(), consumer = CountingConsumer()
    let producer = try make(consumer, clock.reactor)
    try expect(clock.wait { consumer.byteCount > 0 }, "it wrote nothing within an hour")

    producer.pauseProducing()
    try expectSilence(of: consumer, clock, "it wrote while it was paused")
    producer.pauseProducing()
    try expectSilence(of: consumer, clock, "it wrote while it was paused twice")

    let before = consumer.byteCount
    producer.resumeProducing()
    try expect(
        clock.wait { consumer.byteCount > before || consumer.hasFinished },
        "it wrote nothing after it was resumed, and did not unregister")

    producer.stopProducing()
    try expectSilence(of: consumer, clock, "it wrote after it was stopped")
}

/// Checks that a producer gives one piece each time it is asked, and then finishes or goes on.
///
/// - Parameter make: Makes a producer for a consumer; it may register itself.
/// - Throws: ``CheckFailure``: asked, it must write or unregister, at once or within an hour of the
///   reactor's clock.
public func checkProducer(
    pull make: (_ consumer: any Consumer, _ reactor: Reactor) throws -> any PullProducer
) throws {
    let clock = ManualClock(), consumer = CountingConsumer()
    let producer = try make(consumer, clock.reactor)
    for _ in 0..<3 where !consumer.hasFinished {
        let before = consumer.byteCount
        producer.produceMore()
        try expect(
            clock.wait { consumer.byteCount > before || consumer.hasFinished },
            "asked for more, it neither wrote nor unregistered")
    }
    producer.stopProducing()
    try expectSilence(of: consumer, clock, "it wrote after it was stopped")
}

private func expectSilence(
    of consumer: CountingConsumer, _ clock: ManualClock, _ complaint: String
) throws {
    let before = consumer.byteCount
    clock.advance(by: .seconds(3_600))
    try expect(consumer.byteCount == before, complaint)
}

extension ManualClock {
    /// Advances by milliseconds first, then in longer and longer steps, up to an hour in all.
    fileprivate func wait(until condition: () -> Bool) -> Bool {
        var step = Duration.milliseconds(1)
        let end = now.advanced(by: .seconds(3_600))
        while !condition(), now < end {
            advance(by: step)
            step *= 2
        }
        return condition()
    }
}

/// Counts what it is given, and asks for nothing.
private final class CountingConsumer: Consumer {
    private(set) var byteCount = 0
    private(set) var hasFinished = false

    func write(_ bytes: RawSpan) { byteCount += bytes.byteCount }
    func write(_ bytes: Bytes) { byteCount += bytes.count }
    func registerProducer(_ producer: any PushProducer) {}
    func registerProducer(_ producer: any PullProducer) {}
    func unregisterProducer() { hasFinished = true }
}
