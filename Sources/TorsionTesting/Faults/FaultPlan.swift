// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

@_spi(Backend) public import TorsionCore

/// Which calls of a backend go wrong, and how.
///
/// Counts the calls as they are made.
///
///     let plan = FaultPlan.failCall(3, with: .connectionReset)
///     let reactor = Reactor(backend: .faulty(.epoll, plan), services: nil)
///
/// A plan is used up by the backends that were made for it, on any thread.
public final class FaultPlan: Sendable {
    /// A call of the kernel that can fail.
    public enum Call: Hashable, Sendable, CaseIterable {
        /// Starting the backend.
        case start
        /// Binding and listening.
        case listen
        /// Taking a client from the queue.
        case accept
        /// Beginning to connect.
        case connect
        /// The answer to that.
        case connected
        /// Joining two descriptors to a stream.
        case open
        /// Watching a descriptor.
        case watch
        /// Reading a stream, to its end too.
        case read
        /// Writing to a stream.
        case write
        /// Ending the outgoing direction.
        case shutdown
        /// Binding a port for datagrams.
        case bind
        /// Receiving a batch of datagrams; one that fails leaves them in the kernel.
        case receive
        /// Sending a batch of datagrams; its first is lost.
        case send
    }

    private enum Failing { case none, calls(ClosedRange<Int>, Set<Call>, ErrorCode) }

    private struct State {
        var calls: [Call] = []
        var matching = 0
        var failures = 0
        var random: UInt64
    }

    private let failing: Failing
    /// Reads and writes are cut to at most this.
    private let pieceByteCount: Int
    /// Of a hundred calls that may be late or cut at random, how many are.
    private let percent: UInt64
    private let state: Lock<State>

    private init(
        _ failing: Failing = .none, pieceByteCount: Int = .max, percent: UInt64 = 0,
        seed: UInt64 = 0
    ) {
        self.failing = failing
        self.pieceByteCount = pieceByteCount
        self.percent = percent
        state = Lock(State(random: seed))
    }

    /// Only counts.
    public static var counting: FaultPlan { FaultPlan() }

    /// Fails one call, counted from 1 among those of the given kinds.
    ///
    /// Clients that were not accepted for want of descriptors are refused, whatever the code.
    ///
    /// - Parameters:
    ///   - number: From 1.
    ///   - calls: Those that are counted.
    ///   - code: The call's error.
    /// - Returns: A plan for one run: it counts on.
    public static func failCall(
        _ number: Int, of calls: Set<Call> = Set(Call.allCases), with code: ErrorCode
    ) -> FaultPlan { failCalls(number...number, of: calls, with: code) }

    /// Fails several calls in a row, counted from 1 among those of the given kinds.
    ///
    /// - Parameters:
    ///   - numbers: From 1.
    ///   - calls: Those that are counted.
    ///   - code: Their error.
    /// - Returns: A plan for one run: it counts on.
    public static func failCalls(
        _ numbers: ClosedRange<Int>, of calls: Set<Call> = Set(Call.allCases), with code: ErrorCode
    ) -> FaultPlan { FaultPlan(.calls(numbers, calls, code)) }

    /// Cuts reads and writes into pieces, and batches to so many datagrams.
    ///
    /// Calls do not fail: every program must work the same.
    ///
    /// - Parameter byteCount: The longest piece, and the most datagrams of a batch; at least 1.
    /// - Returns: A plan that can be used again.
    public static func pieces(of byteCount: Int) -> FaultPlan {
        require(byteCount > 0, "FaultPlan: a piece has at least one byte, got \(byteCount)")
        return FaultPlan(pieceByteCount: byteCount)
    }

    /// Cuts reads and writes anywhere, takes zero bytes of some writes, and delays some events by a
    /// turn, all by the seed.
    ///
    /// Calls do not fail.
    ///
    /// - Parameter seed: The same seed cuts in the same places.
    /// - Returns: A plan for one run: it draws on.
    public static func irregular(seed: UInt64) -> FaultPlan { FaultPlan(percent: 40, seed: seed) }

    /// The calls so far, in order.
    public var calls: [Call] { state.withLock { $0.calls } }

    /// How many calls were failed so far.
    public var failureCount: Int { state.withLock { $0.failures } }

    // MARK: For the backend

    /// Counts a call.
    ///
    /// - Returns: How it is to fail; nil if it is to be made.
    func failure(of call: Call) -> ErrorCode? {
        state.withLock { state in
            state.calls.append(call)
            guard case .calls(let numbers, let calls, let code) = failing, calls.contains(call)
            else { return nil }
            state.matching += 1
            guard numbers.contains(state.matching) else { return nil }
            state.failures += 1
            return code
        }
    }

    /// How much of a read is delivered at once: at least one byte, or one datagram.
    func readLimit(_ byteCount: Int) -> Int {
        min(byteCount, pieceByteCount, isStruck ? 1 + random(below: byteCount) : .max)
    }

    /// How much of a write is offered to the kernel; none is its "not now".
    func writeLimit(_ byteCount: Int) -> Int {
        min(byteCount, pieceByteCount, isStruck ? random(below: byteCount + 1) : .max)
    }

    /// Whether something that happened is told in the next turn only.
    var isLate: Bool { isStruck }

    private var isStruck: Bool { percent > 0 && random(below: 100) < percent }

    private func random(below limit: Int) -> Int {
        state.withLock { state in
            // SplitMix64.
            state.random &+= 0x9e37_79b9_7f4a_7c15
            var word = state.random
            word = (word ^ (word >> 30)) &* 0xbf58_476d_1ce4_e5b9
            word = (word ^ (word >> 27)) &* 0x94d0_49bb_1331_11eb
            return Int((word ^ (word >> 31)) % UInt64(limit))
        }
    }
}
