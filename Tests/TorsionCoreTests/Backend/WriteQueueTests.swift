// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

import Testing

@_spi(Backend) @testable import TorsionCore

@Suite struct WriteQueueTests {
    @Test func `a thousand short writes become few runs`() {
        let queue = WriteQueue()
        for _ in 0..<1_000 { queue.append(text: "0123456789") }
        #expect(queue.byteCount == 10_000)
        #expect(queue.runCount == 1)
        #expect(
            queue.head == Array(repeating: Array("0123456789".utf8), count: 1_000).flatMap(\.self))
    }

    @Test func `a large value is queued where it lies`() {
        let queue = WriteQueue()
        let bytes = Bytes([UInt8](repeating: 7, count: 100_000))
        queue.append(text: "before")
        queue.append(bytes)
        queue.append(text: "after")
        let own = bytes.withUnsafeBytes { UInt(bitPattern: $0.baseAddress) }
        let shown = queue.withHead { UInt(bitPattern: $0[1].baseAddress) }
        #expect(shown == own)
        #expect(queue.head == Array("before".utf8) + Array(bytes) + Array("after".utf8))
    }

    @Test func `appending leaves what was shown where it is`() {
        let queue = WriteQueue()
        queue.append(text: "first")
        let before = queue.withHead { UInt(bitPattern: $0[0].baseAddress) }
        for _ in 0..<5_000 { queue.append(text: "more and more") }
        let after = queue.withHead { UInt(bitPattern: $0[0].baseAddress) }
        #expect(before == after)
    }

    @Test func `no more runs are shown than one call takes`() {
        let queue = WriteQueue()
        for _ in 0..<40 { queue.append(Bytes("piece")) }
        #expect(queue.runCount == WriteQueue.headLimit)
        queue.remove(byteCount: 5 * 39)
        #expect(queue.head == Array("piece".utf8))
    }

    @Test func `an empty queue is empty, and can be used again`() {
        let queue = WriteQueue()
        queue.append(Bytes())
        #expect(queue.isEmpty && queue.runCount == 0)
        queue.append(text: "x")
        queue.remove(byteCount: 1)
        #expect(queue.isEmpty && queue.head.isEmpty)
        queue.append(text: "again")
        queue.removeAll()
        #expect(queue.isEmpty)
        queue.append(text: "y")
        #expect(queue.head == Array("y".utf8))
    }

    @Test(arguments: [1, 3, 64, 1_000])
    func `case M6: what was sent is released, however much still waits`(waitingCount: Int) {
        let queue = WriteQueue()
        var owners: [WeakOwner] = []
        func appendOne() {
            let bytes = Bytes([UInt8](repeating: 1, count: 5_000))
            owners.append(WeakOwner(bytes))
            queue.append(bytes)
        }
        for _ in 0..<waitingCount { appendOne() }
        // Refilled before it is empty, as a producer does.
        for _ in 0..<500 {
            queue.remove(byteCount: 2_500)
            appendOne()
            queue.remove(byteCount: 2_500)
            #expect(owners.count { $0.isAlive } == waitingCount)
        }
        queue.remove(byteCount: queue.byteCount)
        #expect(owners.allSatisfy { !$0.isAlive })
    }

    @Test func `blocks that were sent are released, too, and the descriptors in front of them`() {
        let queue = WriteQueue()
        for _ in 0..<100 {
            queue.append(text: String(repeating: "x", count: 10_000))
            queue.append(Bytes("yy"))
            queue.remove(byteCount: 5_001)
            queue.checkInvariants()
        }
        #expect(queue.byteCount == 100 * 10_002 - 100 * 5_001)
        queue.remove(byteCount: queue.byteCount)
        #expect(queue.isEmpty)
    }

    @Test func `removing more than is queued traps`() async {
        await #expect(processExitsWith: .failure) {
            let queue = WriteQueue()
            queue.append(Bytes("abc"))
            queue.remove(byteCount: 4)
        }
    }

    @Test(arguments: 1...8 as ClosedRange<UInt64>)
    func `it behaves as an array of bytes would`(seed: UInt64) {
        var random = SplitMix64(state: seed)
        let queue = WriteQueue()
        var model: [UInt8] = []
        for step in 0..<200 {
            switch Int.random(in: 0..<4, using: &random) {
            case 0:
                let count = Int.random(in: 0..<20_000, using: &random)
                let piece = [UInt8](repeating: UInt8(truncatingIfNeeded: step), count: count)
                queue.append(Bytes(piece))
                model += piece
            case 1:
                let count = Int.random(in: 0..<3_000, using: &random)
                let piece = [UInt8](repeating: UInt8(truncatingIfNeeded: step), count: count)
                piece.withUnsafeBytes { queue.append(copying: $0) }
                model += piece
            default:
                let head = queue.head
                #expect(model.starts(with: head))
                #expect(head.isEmpty == model.isEmpty)
                let count = head.isEmpty ? 0 : Int.random(in: 0...head.count, using: &random)
                queue.remove(byteCount: count)
                model.removeFirst(count)
            }
            #expect(queue.byteCount == model.count)
        }
    }
}

/// Knows whether the storage of some bytes still exists.
private struct WeakOwner {
    private weak var storage: AnyObject?

    init(_ bytes: Bytes) { storage = bytes.storage }

    var isAlive: Bool { storage != nil }
}

extension WriteQueue {
    fileprivate var head: [UInt8] { withHead { runs in runs.flatMap { Array($0) } } }

    fileprivate var runCount: Int { withHead { $0.count } }

    fileprivate func append(text: String) {
        Array(text.utf8).withUnsafeBytes { append(copying: $0) }
    }
}
