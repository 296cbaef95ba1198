// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors
import Testing
import Torsion
import TorsionTesting

struct NoSuchKey: Error { let key: String }

// snippet: store
/// A store whose answers come later.
final class SlowStore {
    private let reactor: Reactor
    private let values: [String: Int]
    private(set) var isAsked = false

    init(_ values: [String: Int], on reactor: Reactor) {
        self.values = values
        self.reactor = reactor
    }

    /// Looks a key up.
    func value(of key: String) -> Deferred<Int> {
        isAsked = true
        var call: DelayedCall?
        // Cancelling the Deferred stops the work behind it.
        let answer = Deferred<Int>(on: reactor) { _ in call?.cancel() }
        call = reactor.callLater(.milliseconds(200)) { [self] in
            if let value = values[key] {
                answer.succeed(value)
            } else {
                answer.fail(NoSuchKey(key: key))
            }
        }
        return answer
    }
}
// snippet end

// snippet: chain
/// Adds the values of two keys, and says so in words.
func sum(of first: String, _ second: String, in store: SlowStore) -> Deferred<String> {
    store.value(of: first)
        // A callback that returns a Deferred: the chain waits for it.
        .addCallback { one in store.value(of: second).addCallback { other in one + other } }
        // A callback that returns a value: the next one gets it.
        .addCallback { sum in "the sum is \(sum)" }
        // An errback of one kind of error; every other error goes past it.
        .addErrback(of: NoSuchKey.self) { error in "there is no \(error.key)" }
}
// snippet end

@Test func `a chain waits, computes and recovers`() throws {
    let clock = ManualClock()
    let store = SlowStore(["a": 1, "b": 2], on: clock.reactor)
    var words: [String] = []
    sum(of: "a", "b", in: store).addCallback { words.append($0) }.whenFailed { _ in }
    sum(of: "a", "x", in: store).addCallback { words.append($0) }.whenFailed { _ in }
    clock.advance(by: .milliseconds(200))
    #expect(words.isEmpty)
    clock.advance(by: .milliseconds(200))
    #expect(words == ["the sum is 3", "there is no x"])
}

// snippet: limits
/// Gives the store a second; what is too slow is cancelled.
func quickValue(of key: String, in store: SlowStore, _ limit: Duration) -> Deferred<Int?> {
    store.value(of: key)
        .addTimeout(limit)
        .addCallback { value in Int?.some(value) }
        .addErrback(of: TimeoutError.self) { _ in nil }
}
// snippet end

@Test func `what is too slow is cancelled`() {
    let clock = ManualClock()
    let store = SlowStore(["a": 1], on: clock.reactor)
    var answers: [Int?] = []
    quickValue(of: "a", in: store, .seconds(1)).addCallback { answers.append($0) }
        .whenFailed { _ in }
    quickValue(of: "a", in: store, .milliseconds(100)).addCallback { answers.append($0) }
        .whenFailed { _ in }
    clock.advance(by: .milliseconds(100))
    clock.advance(by: .milliseconds(100))
    #expect(answers == [nil, 1])
    #expect(clock.reactor.statistics.delayedCalls == 0)
}

// snippet: together
/// Asks for all keys at once, and waits for all answers.
func total(of keys: [String], in store: SlowStore, on reactor: Reactor) -> Deferred<Int> {
    DeferredList(keys.map { store.value(of: $0) }, on: reactor)
        .values()
        .addCallback { values in values.reduce(0, +) }
}
// snippet end

// snippet: await
/// The same chain as straight code: a task of the reactor's waits for a Deferred by `value`.
func sumAsTask(of first: String, _ second: String, in store: SlowStore) async throws -> String {
    do {
        let one = try await store.value(of: first).value
        let other = try await store.value(of: second).value
        return "the sum is \(one + other)"
    } catch let error as NoSuchKey {
        return "there is no \(error.key)"
    }
}
// snippet end

@Test func `several at once take as long as one; a task reads like a chain`() {
    let clock = ManualClock()
    let store = SlowStore(["a": 1, "b": 2, "c": 3], on: clock.reactor)
    var sum: Int?
    total(of: ["a", "b", "c"], in: store, on: clock.reactor).addCallback { sum = $0 }
        .whenFailed { _ in }
    clock.advance(by: .milliseconds(200))
    #expect(sum == 6)
    var words = ""
    clock.reactor.spawn { words = try await sumAsTask(of: "a", "b", in: store) }
    for _ in 0..<8 { clock.advance(by: .milliseconds(100)) }
    #expect(words == "the sum is 3")
}
