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
    /// Counters: `connections_made`, `connections_shed`, `unhandled_errors`, `turns`, `timers_fired`;
    /// `connections_lost` and `handshakes_failed` with the dimensions `reason`, such as `failed` or
    /// `deadline_passed`, and `detail`: a code such as `ECONNRESET`, a deadline such as `idle`, or the
    /// empty text; and, while the reactor `Reactor.isMeasuring`, `bytes_read`, `bytes_written`,
    /// `slow_events`.
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
        count("connections_lost", figures.losses)
        count("connections_shed", figures.connectionsShed)
        count("handshakes_failed", figures.handshakeLosses)
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

    /// Every one has both dimensions, since a factory may want the same of all that share a name.
    private func count(_ name: String, _ losses: LossCounts) {
        for (reason, detail, value) in losses.details {
            count(name, value, [("reason", reason), ("detail", detail)])
        }
    }

    private func count(_ name: String, _ value: UInt64, _ more: [(String, String)] = []) {
        let key = more.reduce(name) { "\($0) \($1.1)" }
        let added = value &- reported[key, default: 0]
        guard added > 0 else { return }
        reported[key] = value
        let dimensions = [("reactor", reactor)] + more
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
