// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

#if Metrics

public import CoreMetrics
public import TorsionCore

extension Reactor {
    /// Reports the figures of this reactor to swift-metrics, once in an interval.
    ///
    ///     reactor.reportMetrics()
    ///
    /// Called on the reactor. Messages are free of cost: the loop pays a timer, and its last report
    /// comes when the last connection is lost. Each metric has the dimension `reactor`.
    ///
    /// Counters: `connections_made`, `connections_lost` with the dimension `reason`,
    /// `connections_shed`, `handshakes_failed`, `unhandled_errors`, `turns`, `timers_fired`; and, while
    /// the reactor `Reactor.isMeasuring`, `bytes_read`, `bytes_written`, `slow_events`.
    /// Gauges: `open_connections`, `queued_bytes`, `delayed_calls`, `tasks`; and while it measures,
    /// `event_p99_seconds`, `lag_p99_seconds`, `busy`, of the last interval.
    ///
    /// - Parameters:
    ///   - prefix: The first part of each name, followed by a dot.
    ///   - interval: Between two reports.
    ///   - factory: Nil takes the one that the program has bootstrapped.
    public func reportMetrics(
        prefix: String = "torsion", every interval: Duration = .seconds(1),
        factory: (any MetricsFactory)? = nil
    ) {
        checkThread()
        let report = MetricsReport(
            prefix: prefix, reactor: number, factory: factory ?? MetricsSystem.factory)
        LoopingCall(on: self) { [unowned self] in report.send(statistics, load, at: now) }
            .start(every: interval, first: .afterInterval).ignore()
        addTrigger(.after, .shutdown) { [unowned self] in report.send(statistics, load, at: now) }
    }
}

/// What was reported last, and where to.
private final class MetricsReport {
    private let prefix: String
    private let reactor: String
    private let factory: any MetricsFactory
    private var counters: [String: Counter] = [:]
    private var gauges: [String: Gauge] = [:]
    private var reported: [String: UInt64] = [:]
    private var load: ReactorLoad?
    private var time: MonotonicInstant?

    init(prefix: String, reactor: UInt32, factory: any MetricsFactory) {
        self.prefix = prefix
        self.reactor = "\(reactor)"
        self.factory = factory
    }

    func send(_ figures: ReactorStatistics, _ load: ReactorLoad, at now: MonotonicInstant) {
        count("connections_made", figures.connectionsMade)
        let losses = figures.losses
        for (reason, value) in [
            ("closed_by_peer", losses.closedByPeer), ("closed_locally", losses.closedLocally),
            ("aborted", losses.aborted), ("failed", losses.failed),
            ("truncated", losses.truncated), ("deadline_passed", losses.deadlinePassed),
            ("write_limit_exceeded", losses.writeLimitExceeded),
            ("protocol_failed", losses.protocolFailed),
        ] { count("connections_lost", value, reason: reason) }
        count("connections_shed", figures.connectionsShed)
        count("handshakes_failed", figures.handshakesFailed)
        count("unhandled_errors", figures.unhandledErrors)
        count("turns", figures.turns)
        count("timers_fired", figures.timersFired)
        gauge("open_connections", Double(figures.openConnections))
        gauge("queued_bytes", Double(figures.queuedBytes))
        gauge("delayed_calls", Double(figures.delayedCalls))
        gauge("tasks", Double(figures.tasks))
        send(load, at: now)
    }

    private func send(_ load: ReactorLoad, at now: MonotonicInstant) {
        // Of another measurement, its counts begin again.
        if let before = self.load, before.start != load.start {
            for name in ["bytes_read", "bytes_written", "slow_events"] { reported[name] = 0 }
            self.load = nil
        }
        defer { (self.load, time) = (load, now) }
        guard load.start.nanoseconds > 0 else { return }
        count("bytes_read", load.bytesRead)
        count("bytes_written", load.bytesWritten)
        count("slow_events", load.slowEvents)
        guard let before = self.load, let time, time < now else { return }
        let events = load.events.since(before.events)
        gauge("event_p99_seconds", events.percentile(0.99).inSeconds)
        gauge("lag_p99_seconds", load.lag.since(before.lag).percentile(0.99).inSeconds)
        gauge("busy", events.total.inSeconds / time.duration(to: now).inSeconds)
    }

    private func count(_ name: String, _ value: UInt64, reason: String? = nil) {
        let key = reason.map { "\(name) \($0)" } ?? name
        let added = value &- reported[key, default: 0]
        guard added > 0 else { return }
        reported[key] = value
        var dimensions = [("reactor", reactor)]
        if let reason { dimensions.append(("reason", reason)) }
        let counter =
            counters[key]
            ?? Counter(label: "\(prefix).\(name)", dimensions: dimensions, factory: factory)
        counters[key] = counter
        counter.increment(by: Int64(clamping: added))
    }

    private func gauge(_ name: String, _ value: Double) {
        let gauge =
            gauges[name]
            ?? Gauge(
                label: "\(prefix).\(name)", dimensions: [("reactor", reactor)], factory: factory)
        gauges[name] = gauge
        gauge.record(value)
    }
}

#endif
