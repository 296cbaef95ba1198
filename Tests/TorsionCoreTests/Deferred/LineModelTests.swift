// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

import Testing
import TorsionCore

/// Random scripts over semaphores and queues, against arrays: first in, first out, and who is
/// cancelled has never been there.
struct LineModelTests {
    @Test func `a semaphore serves in the order of its line, whoever leaves it`() {
        for seed in 1...500 as ClosedRange<UInt64> {
            let still = StillReactor()
            var random = SplitMix64(state: seed)
            let limit = Int.random(in: 1...3, using: &random)
            let semaphore = DeferredSemaphore(count: limit, on: still.reactor)
            var waiters: [Deferred<Void>] = []
            var served: [Int] = []
            // The model: who has been served, who waits, how many hold a place.
            var expected: [Int] = []
            var line: [Int] = []
            var heldCount = 0
            for _ in 0..<60 {
                switch Int.random(in: 0..<6, using: &random) {
                case 0..<3:
                    let number = waiters.count
                    if heldCount < limit {
                        heldCount += 1
                        expected.append(number)
                    } else {
                        line.append(number)
                    }
                    waiters.append(semaphore.acquire())
                    waiters[number].addCallback { served.append(number) }
                case 3, 4:
                    guard heldCount > 0 else { continue }
                    if line.isEmpty { heldCount -= 1 } else { expected.append(line.removeFirst()) }
                    semaphore.release()
                default:
                    guard let number = waiters.indices.randomElement(using: &random) else {
                        continue
                    }
                    line.removeAll { $0 == number }
                    waiters[number].cancel()
                }
                #expect(served == expected, "seed \(seed)")
                #expect(semaphore.waitingCount == line.count, "seed \(seed)")
                #expect(semaphore.freeCount == limit - heldCount, "seed \(seed)")
            }
        }
    }

    @Test func `a queue gives its elements in order, to its takers in order`() {
        for seed in 1...500 as ClosedRange<UInt64> {
            let still = StillReactor()
            var random = SplitMix64(state: seed)
            let limit = Int.random(in: 0...4, using: &random)
            let waitingLimit = Int.random(in: 0...4, using: &random)
            let queue = DeferredQueue<Int>(
                limit: limit, waitingLimit: waitingLimit, on: still.reactor)
            var takers: [Deferred<Int>] = []
            var taken: [[Int]] = []
            var errors = 0
            // The model.
            var expected: [[Int]] = []
            var expectedErrors = 0
            var elements: [Int] = []
            var line: [Int] = []
            for element in 0..<60 {
                switch Int.random(in: 0..<5, using: &random) {
                case 0, 1:
                    if !line.isEmpty {
                        expected.append([line.removeFirst(), element])
                    } else if elements.count < limit {
                        elements.append(element)
                    } else {
                        expectedErrors += 1
                    }
                    do { try queue.put(element) } catch { errors += 1 }
                case 2, 3:
                    let number = takers.count
                    if !elements.isEmpty {
                        expected.append([number, elements.removeFirst()])
                    } else if line.count < waitingLimit {
                        line.append(number)
                    } else {
                        expectedErrors += 1
                    }
                    takers.append(queue.get())
                    takers[number].addCallback { taken.append([number, $0]) }
                        .whenFailed { if $0 is QueueUnderflow { errors += 1 } }
                default:
                    guard let number = takers.indices.randomElement(using: &random) else {
                        continue
                    }
                    line.removeAll { $0 == number }
                    takers[number].cancel()
                }
                #expect(taken == expected, "seed \(seed)")
                #expect(errors == expectedErrors, "seed \(seed)")
                #expect(queue.count == elements.count, "seed \(seed)")
                #expect(queue.waitingCount == line.count, "seed \(seed)")
            }
        }
    }
}
