// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

import Testing

@_spi(Backend) @testable import TorsionCore

@Suite struct DatagramQueueTests {
    private let address = SocketAddress.ipv4(.loopback, port: 7)

    /// What is queued, as arrays.
    private func shown(_ queue: borrowing DatagramQueue) -> [[UInt8]] {
        queue.withAll { all in all.map { Array($0.bytes) } }
    }

    private func append(_ bytes: [UInt8], _ queue: inout DatagramQueue) -> Bool {
        bytes.withUnsafeBytes { queue.append($0, to: address) }
    }

    @Test func `datagrams come out as they went in, also empty ones`() {
        var queue = DatagramQueue(capacity: 1_024)
        #expect(append([1], &queue) && append([], &queue) && append([2, 3], &queue))
        #expect(shown(queue) == [[1], [], [2, 3]])
        queue.removeFirst(2)
        #expect(shown(queue) == [[2, 3]])
        #expect(queue.withAll { $0[0].address } == address)
        queue.removeFirst()
        #expect(shown(queue) == [])
    }

    @Test func `each takes whole lines, so that empty ones fill the queue too`() {
        var queue = DatagramQueue(capacity: 64 * 4)
        for _ in 0..<4 { #expect(append([], &queue)) }
        #expect(!append([], &queue))
        #expect(shown(queue).count == 4)
        queue.removeFirst()
        #expect(append([9], &queue))
        #expect(!append([], &queue))
        #expect(shown(queue) == [[], [], [], [9]])
    }

    @Test func `one that is longer than the queue never fits`() {
        var queue = DatagramQueue(capacity: 128)
        #expect(!append([UInt8](repeating: 1, count: 129), &queue))
        #expect(append([UInt8](repeating: 1, count: 128), &queue))
    }

    @Test(arguments: 1...20 as ClosedRange<UInt64>)
    func `a ring behaves like an array, whatever comes and goes`(seed: UInt64) {
        var random = SplitMix64(state: seed)
        var queue = DatagramQueue(capacity: 64 * 40)
        var model: [[UInt8]] = []
        var accepted = 0, refused = 0
        for step in 0..<5_000 {
            if random.next() % 3 > 0 {
                let count = Int(random.next() % 300)
                let bytes = [UInt8](repeating: UInt8(truncatingIfNeeded: step), count: count)
                if append(bytes, &queue) {
                    model.append(bytes)
                    accepted += 1
                } else {
                    // The ring may waste less than one datagram at its end.
                    let lines = model.reduce(0) { $0 + max(1, ($1.count + 63) / 64) }
                    #expect(lines > 40 - 2 * 5)
                    refused += 1
                }
            } else if !model.isEmpty {
                let count = 1 + Int(random.next() % UInt64(model.count))
                queue.removeFirst(count)
                model.removeFirst(count)
            }
            #expect(shown(queue) == model)
        }
        #expect(accepted > 1_000 && refused > 10)
    }

    @Test func `more removed than queued traps`() async {
        await #expect(processExitsWith: .failure) {
            var queue = DatagramQueue(capacity: 64)
            queue.removeFirst()
        }
    }
}
