// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

/// In which order and when the addresses of a host are tried: RFC 8305, as a pure state machine.
///
/// Attempts begin 250 ms apart, at once after a failure, and run side by side; the first that
/// connects wins.
struct HappyEyeballs {
    enum Action: Equatable {
        /// Begin an attempt, and report `delayPassed` later unless the last address is reached.
        case attempt(SocketAddress, next: Duration?)
        /// Wait for the attempts under way.
        case none
        /// All have failed.
        case fail
    }

    /// RFC 8305 §5, the recommended Connection Attempt Delay.
    static let attemptDelay = Duration.milliseconds(250)

    private var waiting: ArraySlice<SocketAddress>
    private var attemptCount = 0

    init(_ addresses: [SocketAddress]) { waiting = Self.interleaved(addresses)[...] }

    mutating func start() -> Action { next() }

    /// The delay of the latest attempt is over.
    mutating func delayPassed() -> Action { waiting.isEmpty ? .none : next() }

    mutating func attemptFailed() -> Action {
        precondition(attemptCount > 0, "HappyEyeballs: more failures than attempts")
        attemptCount -= 1
        return next()
    }

    private mutating func next() -> Action {
        guard let address = waiting.popFirst() else { return attemptCount == 0 ? .fail : .none }
        attemptCount += 1
        return .attempt(address, next: waiting.isEmpty ? nil : Self.attemptDelay)
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
    fileprivate var isIPv6: Bool { if case .ipv6 = self { true } else { false } }
}
