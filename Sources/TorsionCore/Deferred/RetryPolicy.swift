// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

/// How often and after what delays something that failed is tried again: a value.
///
/// The delays grow by ``factor`` up to ``longestDelay``, and chance takes a part away from each, so
/// that many who failed together do not come back together.
public struct RetryPolicy: Sendable {
    /// How often it is tried at most, the first time included; nil is unlimited.
    public var attemptLimit: Int?
    /// The delay behind the first failure.
    public var firstDelay: Duration
    /// How much longer each delay is than the one before, at least 1.
    public var factor: Double
    /// The longest delay.
    public var longestDelay: Duration
    /// The part of a delay that chance may take away, from 0 to 1.
    public var jitter: Double
    /// The seed of the random part; nil draws one from the reactor.
    public var seed: UInt64?
    /// Which errors end the trying at once.
    ///
    /// `CancellationError` always does.
    public var isPermanent: @Sendable (any Error) -> Bool

    /// Makes a policy; what is left out is half a second, doubled up to a minute, unlimited, and
    /// chance takes up to a half.
    ///
    /// - Parameters:
    ///   - attemptLimit: How often it is tried, the first time included; `nil` tries without limit.
    ///   - firstDelay: How long to wait after the first failure.
    ///   - factor: How much longer each delay is than the one before.
    ///   - longestDelay: Where the delays stop growing.
    ///   - jitter: The part of a delay that chance may take away.
    ///   - seed: For the random part; `nil` draws one from the reactor.
    ///   - isPermanent: Whether an error ends the trying at once; called on the reactor.
    /// - Precondition: The delays are not negative, `factor` is at least 1, `jitter` is from 0 to 1,
    ///   `attemptLimit` is at least 1.
    public init(
        attemptLimit: Int? = nil, firstDelay: Duration = .milliseconds(500), factor: Double = 2,
        longestDelay: Duration = .seconds(60), jitter: Double = 0.5, seed: UInt64? = nil,
        isPermanent: @escaping @Sendable (any Error) -> Bool = { _ in false }
    ) {
        require(
            attemptLimit ?? 1 >= 1,
            "RetryPolicy: attemptLimit \(attemptLimit ?? 1); need at least 1")
        require(firstDelay >= .zero, "RetryPolicy: firstDelay \(firstDelay); need at least 0")
        require(longestDelay >= .zero, "RetryPolicy: longestDelay \(longestDelay); need at least 0")
        require(factor >= 1, "RetryPolicy: factor \(factor); need at least 1")
        require((0...1).contains(jitter), "RetryPolicy: jitter \(jitter); need 0 to 1")
        self.attemptLimit = attemptLimit
        self.firstDelay = firstDelay
        self.factor = factor
        self.longestDelay = longestDelay
        self.jitter = jitter
        self.seed = seed
        self.isPermanent = isPermanent
    }

    /// Whether there is a point in another attempt behind this error.
    func allowsRetry(after error: any Error) -> Bool {
        !(error is CancellationError) && !isPermanent(error)
    }
}

/// The delays of one who tries again and again.
struct Backoff {
    private let policy: RetryPolicy
    private var random: SeededGenerator
    private var delay: Duration
    private(set) var failureCount = 0

    init(_ policy: RetryPolicy, on reactor: Reactor) {
        self.policy = policy
        random = SeededGenerator(seed: policy.seed ?? reactor.drawSeed())
        delay = min(policy.firstDelay, policy.longestDelay)
    }

    /// An attempt failed.
    ///
    /// - Returns: How long to wait for the next; nil if there is none.
    mutating func failed() -> Duration? {
        failureCount += 1
        if let limit = policy.attemptLimit, failureCount >= limit { return nil }
        return nextDelay()
    }

    /// What an attempt had made was lost, and is to be made again.
    ///
    /// - Returns: How long to wait: as behind a first failure, which this is not.
    mutating func lost() -> Duration {
        failureCount = 0
        delay = min(policy.firstDelay, policy.longestDelay)
        return nextDelay()
    }

    private mutating func nextDelay() -> Duration {
        let part = Double.random(in: 0...1, using: &random) * policy.jitter
        defer { delay = min(delay * policy.factor, policy.longestDelay) }
        return delay * (1 - part)
    }
}
