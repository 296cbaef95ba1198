// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

// The end of a run fails everything that still waits, and whoever hears of it may begin anew: an
// errback that connects again, a task that looks a name up once more. So the end has rounds. Each
// ends what is open, then what that began is the next one's. From the first on the reactor opens
// nothing: what throws says so at once, and what returns a Deferred fails in the next round, never
// inside the call, since an errback that tries again at once would recurse. After the last round
// what is begun gets no answer, like a delayed call that was not due.

extension Reactor {
    /// Far more than any program needs that is not one of those that never give up.
    private static let endRoundLimit = 32

    /// Whether the run's end has begun: then nothing is opened any more.
    package var isEnding: Bool { life.isEnding }

    /// Whether a connect fails, since it would outlive the run.
    package var refusesToConnect: Bool { life.isEnding || life.phase >= .stoppingOwn }

    /// Releases everything that is left, so that no handle is open.
    func end() {
        finishThreadWork()
        life.isEnding = true
        // Accepted calls still run; later ones are refused.
        inbox.close()
        runThreadCalls()
        var rounds = 0
        while endRound(), rounds < Self.endRoundLimit { rounds += 1 }
        tellSlowEvents()
        life.isReleasing = true
        dropRest()
        if life.isStarted {
            require(
                backend.openHandleCount == 0,
                "Reactor: \(backend.openHandleCount) handles are open at the end of a run")
            backend.shutDown()
        }
        finishErrorLines()
        let failure = life.failure
        life = ReactorLife()
        threadWork = ThreadWork()
        life.failure = failure
    }

    /// Ends what is open, tells of it, and runs what becomes ready by that.
    ///
    /// - Returns: Whether there may be more to do.
    private func endRound() -> Bool {
        let before = counters.jobs
        stopPorts()
        abandonAttempts()
        abortConnections()
        deliverLosses()
        finishDrains()
        refuseWhatWasBegun()
        endTasks()
        // Last: whoever is told of the end may want to use them, as long as they are there.
        if let services = services.take() {
            services.shutDown()
            return true
        }
        return counters.jobs > before || !refusals.isEmpty || connections.count > 0
            || attempts.count > 0 || agreements.count > 0 || datagramPorts.count > 0
    }

    /// Releases what the last round has left, and tells nobody.
    private func dropRest() {
        refusals = []
        // What still runs waits for something elsewhere, or never ends; nobody waits for it.
        executor.queue.abandonRest()
        for task in tasks.elements { task.abandon() }
        for attempt in attempts.elements { attempt.cancel() }
        for agreement in agreements.elements { agreement.cancel() }
        for connection in connections.elements { connection.drop() }
        lostConnections = []
        lingering.endAll()
        life.gracePeriodTimer = nil
        for watch in watches.elements { watch.cancel() }
        guests = []
        readyPullConnections = []
        readyFilters = []
        lossWatches = [:]
        remoteObjects = [:]
        companions = [:]
        dropTriggers()
        _ = timers.removeAll()
        queueCall = nil
        queues.forgetExcess()
    }

    // MARK: What is begun too late

    /// Calls `body`, which fails what was begun, in the next turn or the next round of the end; drops
    /// it after the last.
    package func refuseLater(_ body: @escaping () -> Void) {
        guard !life.isReleasing else { return }
        refusals.append(body)
        life.isSteady = false
    }

    /// A Deferred for what cannot begin any more: it fails with ``ReactorStopped``, later.
    package func refused<Value>(
        file: StaticString = #fileID, line: UInt = #line
    ) -> Deferred<Value> {
        let deferred = Deferred<Value>(on: self, file: file, line: line)
        refuseLater { if deferred.isPending { deferred.fail(ReactorStopped()) } }
        return deferred
    }

    /// Fails what was begun since the last turn or round.
    func refuseWhatWasBegun() {
        guard !refusals.isEmpty else { return }
        let refused = refusals
        refusals = []
        for body in refused { performEvent(body) }
    }
}
