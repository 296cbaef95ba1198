// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

extension Reactor {
    /// Runs one turn.
    ///
    /// ``run(signals:)`` is a loop over it; a driver of several reactors calls it.
    ///
    /// In this order: calls from other threads that were queued when the turn began; delayed calls
    /// that are due, equal deadlines in the order in which they were made; pull producers whose
    /// consumers have room; input and output, for which the turn waits; jobs of async code; the ends
    /// of connections, in the order in which they ended. Jobs run after the calls and the timers as
    /// well, a thousand at most between two waits.
    ///
    /// A turn that ran calls or jobs looks for input and output without waiting, so that the caller
    /// sees what they did.
    ///
    /// - Parameter limit: Until when it may wait for input and output; nil waits until something
    ///   happens or a delayed call is due.
    /// - Precondition: Not inside a callback.
    public func turn(until limit: MonotonicInstant? = nil) {
        checkThread()
        noteDriver()
        // Turned by hand, on whichever thread: what is resumed meanwhile is queued without a lock.
        let isByHand = !executor.queue.isBound
        if isByHand { executor.queue.bind() }
        defer { if isByHand { executor.queue.unbind() } }
        // A run does so between its turns.
        let hasRefusals = !refusals.isEmpty
        refuseWhatWasBegun()
        let before = (counters.threadCalls, counters.timersFired, counters.jobs)
        turn(until: limit) { [self] in
            !hasRefusals && before == (counters.threadCalls, counters.timersFired, counters.jobs)
        }
    }

    /// Runs one turn; `mayWait` decides, after the calls and timers, whether it waits.
    @inline(__always)
    func turn(until limit: MonotonicInstant?, mayWait: () -> Bool) {
        require(eventDepth == 0, "Reactor: turn was called inside a callback")
        if !life.isStarted {
            do { try startIfNeeded() } catch { return report(error, in: "starting the backend") }
        }
        counters.turns &+= 1
        updateCachedTime()
        // Each is asked for first: most turns of a busy server have nothing but input and output.
        if !inbox.isEmpty { runThreadCalls() }
        runJobs()
        if timers.count > 0 {
            if meter != nil { measureLag() }
            runDueTimers()
        }
        if !readyPullConnections.isEmpty { callReadyPullProducers() }
        if !readyFilters.isEmpty { deliverHeldInput() }
        runJobs()
        let deadline = waitDeadline(limit)
        updateCachedTime()
        do throws(IOError) {
            try backend.turn(until: mayWait() ? deadline : MonotonicInstant(nanoseconds: 0))
        } catch {
            waitFailed(error)
        }
        executor.queue.renewBudget()
        runJobs()
        if !lostConnections.isEmpty || !stoppedDatagramPorts.isEmpty { deliverLosses() }
        invalidateCachedTime()
    }

    private func callReadyPullProducers() {
        let ready = readyPullConnections
        readyPullConnections = []
        for connection in ready { performEvent { connection.feed() } }
    }

    /// Until when the backend may wait; the past if there is something to do.
    private func waitDeadline(_ limit: MonotonicInstant?) -> MonotonicInstant? {
        var deadline = limit
        // Guests first: what they deliver may schedule.
        for index in guests.indices {
            let guest = guests[index]
            guard let timer = guest.prepareToWait() else { continue }
            deadline = min(deadline ?? timer, timer)
        }
        var isDue = false
        if let timer = timers.nextWakeup {
            // A backend that counts in milliseconds would round it up.
            isDue = timer <= presentTime
            deadline = min(deadline ?? timer, timer)
        }
        let hasWork =
            isDue || !lostConnections.isEmpty || !stoppedDatagramPorts.isEmpty
            || !readyPullConnections.isEmpty || !readyFilters.isEmpty || hasStep
            || !executor.queue.isEmpty
        return hasWork ? MonotonicInstant(nanoseconds: 0) : deadline
    }

    /// Until when the next turn would wait; the past if it has work, nil if nothing is due.
    ///
    /// Calls from other threads and what the backend has are not counted.
    package var nextTurn: MonotonicInstant? { waitDeadline(nil) }

    /// Tells protocols that their connections and ports have ended.
    @inline(never)
    func deliverLosses() {
        // Two arrays in turn, so that the steady state allocates none.
        while !lostConnections.isEmpty {
            var lost = spareLost
            spareLost = []
            swap(&lost, &lostConnections)
            for connection in lost {
                if meter != nil {
                    unsafe connection._withUnsafeGuaranteedRef { $0.nameEvent(.connectionLost) }
                }
                performEvent { _ = unsafe connection._withUnsafeGuaranteedRef { $0.deliverLoss() } }
            }
            lost.removeAll(keepingCapacity: true)
            spareLost = lost
        }
        if !drains.isEmpty { checkDrains() }
        while !stoppedDatagramPorts.isEmpty {
            let stopped = stoppedDatagramPorts
            stoppedDatagramPorts = []
            for port in stopped { performEvent { port.deliverStop() } }
        }
    }
}
