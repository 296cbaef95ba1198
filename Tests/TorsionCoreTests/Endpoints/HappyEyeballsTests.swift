// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

import Testing

@testable import TorsionCore

private let six = ["[2001:db8::1]:80", "[2001:db8::2]:80", "[2001:db8::3]:80"].map(address)
private let four = ["192.0.2.1:80", "192.0.2.2:80", "192.0.2.3:80"].map(address)

private func address(_ text: String) -> SocketAddress { SocketAddress(text)! }

@Suite struct HappyEyeballsTests {
    // RFC 8305 §4
    @Test(
        arguments: [
            ([], []),
            ([six[0]], [six[0]]),
            ([four[0], four[1]], [four[0], four[1]]),
            ([six[0], six[1], four[0]], [six[0], four[0], six[1]]),
            ([six[0], six[1], six[2], four[0]], [six[0], four[0], six[1], six[2]]),
            ([four[0], six[0], six[1], four[1]], [four[0], six[0], four[1], six[1]]),
            ([four[0], six[0], six[1], six[2]], [four[0], six[0], six[1], six[2]]),
        ] as [([SocketAddress], [SocketAddress])])
    func `the families take turns, each in its order, the first one first`(
        found: [SocketAddress], tried: [SocketAddress]
    ) {
        #expect(HappyEyeballs.interleaved(found) == tried)
    }

    @Test func `attempts begin 250 ms apart, and behind the last nothing is waited for`() {
        var eyeballs = HappyEyeballs([six[0], four[0], six[1]])
        #expect(eyeballs.start() == .attempt(six[0], next: .milliseconds(250)))
        #expect(eyeballs.delayPassed() == .attempt(four[0], next: .milliseconds(250)))
        #expect(eyeballs.delayPassed() == .attempt(six[1], next: nil))
        #expect(eyeballs.delayPassed() == .none)
    }

    @Test func `a failure starts the next attempt at once`() {
        var eyeballs = HappyEyeballs([six[0], four[0], six[1]])
        _ = eyeballs.start()
        #expect(eyeballs.attemptFailed() == .attempt(four[0], next: .milliseconds(250)))
        #expect(eyeballs.attemptFailed() == .attempt(six[1], next: nil))
        #expect(eyeballs.attemptFailed() == .fail)
    }

    @Test func `all have failed when the last one under way has`() {
        var eyeballs = HappyEyeballs([six[0], four[0]])
        _ = eyeballs.start()
        _ = eyeballs.delayPassed()
        #expect(eyeballs.attemptFailed() == .none)
        #expect(eyeballs.attemptFailed() == .fail)
    }

    @Test func `no address is a failure`() {
        var eyeballs = HappyEyeballs([])
        #expect(eyeballs.start() == .fail)
    }

    // RFC 8305 §3
    @Test func `addresses that come later take turns with those that wait`() {
        var eyeballs = HappyEyeballs([six[0], six[1]], isComplete: false)
        #expect(eyeballs.start() == .attempt(six[0], next: .milliseconds(250)))
        #expect(eyeballs.add([four[0], six[0]], isLast: true) == .none)
        #expect(eyeballs.delayPassed() == .attempt(four[0], next: .milliseconds(250)))
        #expect(eyeballs.delayPassed() == .attempt(six[1], next: nil))
        #expect(eyeballs.attemptFailed() == .none)
        #expect(eyeballs.attemptFailed() == .none)
        #expect(eyeballs.attemptFailed() == .fail)
    }

    @Test func `an attempt that only lacks an address begins as soon as there is one`() {
        var eyeballs = HappyEyeballs([six[0]], isComplete: false)
        #expect(eyeballs.start() == .attempt(six[0], next: .milliseconds(250)))
        #expect(eyeballs.delayPassed() == .none)
        #expect(
            eyeballs.add([four[0]], isLast: false) == .attempt(four[0], next: .milliseconds(250)))
        #expect(eyeballs.attemptFailed() == .none)
        #expect(eyeballs.attemptFailed() == .none)
        // All have failed, but the look-up goes on.
        #expect(eyeballs.add([six[0]], isLast: false) == .none)
        #expect(eyeballs.add([four[1]], isLast: true) == .attempt(four[1], next: nil))
        #expect(eyeballs.attemptFailed() == .fail)
    }

    @Test func `a look-up that ends without more fails what has failed`() {
        var eyeballs = HappyEyeballs([six[0]], isComplete: false)
        _ = eyeballs.start()
        #expect(eyeballs.attemptFailed() == .none)
        #expect(eyeballs.add([], isLast: true) == .fail)
    }

    @Test func `more failures than attempts trap`() async {
        await #expect(processExitsWith: .failure) {
            var eyeballs = HappyEyeballs([])
            _ = eyeballs.attemptFailed()
        }
    }

    @Test(arguments: 1...50 as ClosedRange<UInt64>)
    func `whatever comes when, each address is tried once, and the end comes last`(seed: UInt64) {
        var random = SplitMix64(state: seed)
        let found = (six + four).shuffled(using: &random)
        var eyeballs = HappyEyeballs(found)
        var tried: [SocketAddress] = []
        var underWay = 0
        var action = eyeballs.start()
        var steps = 0
        while action != .fail, steps < 100 {
            steps += 1
            if case .attempt(let address, let next) = action {
                tried.append(address)
                underWay += 1
                #expect((next == nil) == (tried.count == found.count))
            }
            if underWay == 0 || Bool.random(using: &random), tried.count < found.count {
                action = eyeballs.delayPassed()
            } else {
                underWay -= 1
                action = eyeballs.attemptFailed()
                #expect((action == .fail) == (underWay == 0 && tried.count == found.count))
            }
        }
        #expect(tried == HappyEyeballs.interleaved(found))
        #expect(action == .fail)
    }
}
