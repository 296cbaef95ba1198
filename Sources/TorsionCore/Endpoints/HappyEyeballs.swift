// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

/// In which order and when the addresses of a host are tried: RFC 8305, as a pure state machine.
///
/// Attempts begin 250 ms apart, at once after a failure, and run side by side; the first that
/// connects wins. Addresses may be added while it runs, as long as the look-up goes on.
struct HappyEyeballs {
    enum Action: Equatable {
        /// Begin an attempt, and report `delayPassed` later unless there is nothing to wait for.
        case attempt(SocketAddress, next: Duration?)
        /// Wait for the attempts under way.
        case none
        /// All have failed.
        case fail
    }

    /// RFC 8305 §5, the recommended Connection Attempt Delay.
    static let attemptDelay = Duration.milliseconds(250)

    /// RFC 8305 §3, the Resolution Delay: how long IPv4 waits for IPv6 addresses.
    static let resolutionDelay = Duration.milliseconds(50)

    private var waiting: ArraySlice<SocketAddress>
    /// All of them, so that one that is found twice is tried once; empty when none is to come.
    private var known: Set<SocketAddress>
    private var attemptCount = 0
    /// Whether the look-up has ended.
    private var isComplete: Bool
    /// Whether the next attempt may begin, and only lacks an address.
    private var isDue = false
    private var lastWasIPv6: Bool?

    init(_ addresses: [SocketAddress], isComplete: Bool = true) {
        waiting = Self.interleaved(addresses)[...]
        known = isComplete ? [] : Set(addresses)
        self.isComplete = isComplete
    }

    /// Whether there is any address.
    var isEmpty: Bool { waiting.isEmpty && attemptCount == 0 && lastWasIPv6 == nil }

    /// More addresses were found.
    ///
    /// `isLast`: Whether the look-up has ended with them.
    mutating func add(_ addresses: [SocketAddress], isLast: Bool) -> Action {
        require(!isComplete, "HappyEyeballs: addresses after the last")
        isComplete = isLast
        let new = addresses.filter { known.insert($0).inserted }
        if !new.isEmpty {
            // The other family than that of the latest attempt comes first.
            var rest = Array(waiting) + new
            if let index = rest.firstIndex(where: { $0.isIPv6 != lastWasIPv6 }) {
                rest.swapAt(0, index)
            }
            waiting = Self.interleaved(rest)[...]
        }
        guard isDue || attemptCount == 0 else { return .none }
        return next()
    }

    mutating func start() -> Action { next() }

    /// The delay of the latest attempt is over.
    mutating func delayPassed() -> Action {
        isDue = waiting.isEmpty && !isComplete
        return waiting.isEmpty ? .none : next()
    }

    mutating func attemptFailed() -> Action {
        precondition(attemptCount > 0, "HappyEyeballs: more failures than attempts")
        attemptCount -= 1
        return next()
    }

    private mutating func next() -> Action {
        guard let address = waiting.popFirst() else {
            isDue = !isComplete
            return attemptCount == 0 && isComplete ? .fail : .none
        }
        isDue = false
        attemptCount += 1
        lastWasIPv6 = address.isIPv6
        return .attempt(address, next: waiting.isEmpty && isComplete ? nil : Self.attemptDelay)
    }

    /// The families in turn, beginning with that of the first address: RFC 8305 §4.
    static func interleaved(_ addresses: [SocketAddress]) -> [SocketAddress] {
        guard let first = addresses.first else { return [] }
        let preferred = addresses.filter { $0.isIPv6 == first.isIPv6 }
        let others = addresses.filter { $0.isIPv6 != first.isIPv6 }
        var result: [SocketAddress] = []
        for index in 0..<max(preferred.count, others.count) {
            if index < preferred.count { result.append(preferred[index]) }
            if index < others.count { result.append(others[index]) }
        }
        return result
    }
}

extension SocketAddress {
    var isIPv6: Bool { if case .ipv6 = self { true } else { false } }
}
