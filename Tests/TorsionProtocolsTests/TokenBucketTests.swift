// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

import Testing
import TorsionCore

@testable import TorsionProtocols

@Suite struct TokenBucketTests {
    private func at(_ nanoseconds: UInt64) -> MonotonicInstant {
        MonotonicInstant(nanoseconds: 1_000_000_000 + nanoseconds)
    }

    @Test func `a bucket begins full, and fills at its rate up to the burst`() {
        var bucket = TokenBucket(rate: 1_000, burst: 100, now: at(0))
        #expect(bucket.available(at: at(0)) == 100)
        bucket.take(100)
        #expect(bucket.available(at: at(0)) == 0)
        #expect(bucket.available(at: at(10_000_000)) == 10)
        #expect(bucket.available(at: at(3_600_000_000_000)) == 100)
    }

    @Test func `no fraction of a byte is lost, however often the bucket is asked`() {
        var bucket = TokenBucket(rate: 3, burst: 10, now: at(0))
        bucket.take(10)
        // A third of a second is a byte, less one nanosecond of three.
        for step in 1...333 { _ = bucket.available(at: at(UInt64(step) * 1_000_000)) }
        #expect(bucket.available(at: at(333_333_333)) == 0)
        #expect(bucket.available(at: at(333_333_334)) == 1)
        #expect(bucket.available(at: at(1_000_000_000)) == 3)
    }

    @Test func `what is taken beyond the bucket is a debt that is paid first`() {
        var bucket = TokenBucket(rate: 1_000, burst: 100, now: at(0))
        bucket.take(350)
        #expect(bucket.available(at: at(0)) == -250)
        #expect(bucket.delay(until: 1) == .milliseconds(251))
        #expect(bucket.available(at: at(250_000_000)) == 0)
        #expect(bucket.available(at: at(251_000_000)) == 1)
        #expect(bucket.delay(until: 1) == .zero)
    }

    @Test func `after the delay there are so many, and not a nanosecond before`() {
        for (rate, count) in [(1, 1), (3, 2), (7, 5), (1_000_000_007, 64)] {
            var bucket = TokenBucket(rate: rate, burst: 64, now: at(0))
            bucket.take(64)
            let ready = at(0).advanced(by: bucket.delay(until: count))
            let before = MonotonicInstant(nanoseconds: ready.nanoseconds - 1)
            #expect(bucket.available(at: before) == count - 1)
            #expect(bucket.available(at: ready) == count)
        }
    }

    @Test func `more than the burst is waited for no longer than the burst`() {
        var bucket = TokenBucket(rate: 10, burst: 20, now: at(0))
        bucket.take(20)
        #expect(bucket.delay(until: 1_000) == .seconds(2))
    }

    @Test func `a time before the last one, and any size, are harmless`() {
        var bucket = TokenBucket(rate: .max, burst: .max, now: at(0))
        bucket.take(.max)
        bucket.take(.max)
        #expect(bucket.available(at: MonotonicInstant(nanoseconds: 0)) == -Int.max)
        #expect(bucket.available(at: .distantFuture) == .max)
        #expect(bucket.delay(until: .max) == .zero)
    }
}
