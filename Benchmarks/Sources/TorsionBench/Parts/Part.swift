// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

/// A piece of the engine that is measured by itself, in a process, without a network.
///
/// Every program that has it is started with the part's arguments and prints the nanoseconds of one
/// time.
struct Part {
    /// What must hold between two programs.
    struct Bound {
        var reference: String
        var factor: Double
    }

    /// How many allocations one time may take.
    enum Allocations {
        case atMost(Double)
        case noMoreThan(String)
    }

    var name: String
    var summary: String
    var program: String
    /// What follows the count among the arguments.
    var size: Int?
    /// How often the slow programs, those in Python, do it, and the fast ones.
    var counts: (slow: Int, fast: Int)
    /// Who can do it, besides Torsion.
    var peers: [String]
    var bounds: [Bound] = []
    var allocations: [Allocations] = []
    /// How many system calls one time may take; nil leaves them uncounted.
    var systemCalls: Double?

    static let all: [Part] =
        [chain, chainWaiting] + [0, 10_000, 1_000_000].map(timers)
        + [flood, awaitReady, awaitReactor]

    /// Expected by hand: eleven allocations, 40 ns each with the release, and eleven indirect calls.
    static let chain = Part(
        name: "deferred.chainOfTen",
        summary: "a Deferred, ten callbacks, a value; ten EventLoopFuture.map; ten of Twisted's",
        program: "chain", counts: (slow: 20_000, fast: 200_000),
        peers: ["nio", "twisted", "asyncio"], bounds: [Bound(reference: "nio", factor: 0.5)],
        allocations: [.noMoreThan("nio")])

    static let chainWaiting = Part(
        name: "deferred.chainOfTenWaiting",
        summary: "the same, each callback giving a Deferred with a value; ten flatMap",
        program: "chain-waiting", counts: (slow: 0, fast: 100_000), peers: ["nio"],
        allocations: [.noMoreThan("nio")])

    /// Expected by hand: a wheel's slot is a few loads away however many are pending; libuv's heap
    /// costs nothing when it is empty, and a cache miss a level when it is large.
    static func timers(pending: Int) -> Part {
        Part(
            name: "timer.\(pending)Pending",
            summary: "a delayed call scheduled and cancelled; uv_timer_start, uv_timer_stop",
            program: "timers", size: pending, counts: (slow: 0, fast: 1_000_000),
            peers: ["libuv-c"],
            bounds: [Bound(reference: "libuv-c", factor: pending == 0 ? 1.5 : 0.25)],
            allocations: [.atMost(0)])
    }

    static let flood = Part(
        name: "thread.flood",
        summary: "a call from another thread; uv_async_send behind a lock-free list",
        program: "flood", counts: (slow: 0, fast: 1_000_000), peers: ["libuv-c"],
        bounds: [Bound(reference: "libuv-c", factor: 1.5)])

    /// The one allocation is the Deferred itself: to wait for it takes none.
    static let awaitReady = Part(
        name: "await.ready", summary: "a Deferred that has a value, and its await",
        program: "await-ready", counts: (slow: 0, fast: 1_000_000), peers: [],
        allocations: [.atMost(1)], systemCalls: 0)

    /// Expected by hand: what it waits for and what waits for it are an object each.
    ///
    /// The system calls are those of the turns, one for up to a thousand jobs.
    static let awaitReactor = Part(
        name: "await.reactor", summary: "a Deferred that another task of the reactor fires",
        program: "await-reactor", counts: (slow: 0, fast: 200_000), peers: [],
        allocations: [.atMost(2)], systemCalls: 0.01)
}
