// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

// How a chain is held together.
//
// Each verb (`addCallback`, …) makes one new Deferred, the *link*, and hangs it behind the one it
// was called on: `upstream.next` is a strong reference to the link, `link.upstream` an unowned one
// back. So a chain is owned from its source: nothing in it can form a cycle, whoever holds the
// source (who will fire it) keeps the rest alive, and a chain whose source is gone goes too. The
// way back is only for cancelling, and both ends clear it: `a.next === b` if and only if
// `b.upstream === a`.
//
// A callback that returns a Deferred moves its link behind that inner Deferred. Delivering is
// therefore always one loop that goes from a Deferred with a result to the one that it hands the
// result to, however the chain was made; no link calls the next one, so the stack stays flat.
//
// The link itself stores its callback, so that a link is one allocation. Everything here is erased
// and not generic: the code that knows the types is the link's `step`, a closure without captures
// that `addCallback` and the others form where the types are known. (A generic class with
// overridden methods would run unspecialised: about five times the cost.)

/// The common part of all Deferreds, whatever the type of their value.
///
/// Use it to hold Deferreds of several types together, say to cancel them; everything else is in
/// ``Deferred``, its only subclass. A Deferred belongs to the reactor that it was made on: call
/// every member on that reactor's thread; from elsewhere the call traps.
@safe
public class AnyDeferred {
    /// Where this Deferred and its result are.
    @usableFromInline
    enum Phase {
        /// A source: somebody will call `succeed` or `fail`.
        case unfired
        /// A source that is being cancelled; its canceller runs and may fire it.
        case cancelling
        /// A link: it waits for `upstream`, or its callback is running now (then that is nil).
        case linked
        /// A link whose upstream was released without a result: only cancelling can end it.
        case abandoned
        /// The result is the value in `words`, and was not handed on.
        case succeeded
        /// The result is this error, and was not handed on.
        case failed(any Error)
        /// The result was handed on.
        case delivered
    }

    /// Takes the result of the first Deferred, gives the second, the link, its own, and returns
    /// where the loop goes on: the link, or the Deferred that the link now waits for.
    @usableFromInline typealias Step = (AnyDeferred, AnyDeferred) -> AnyDeferred

    /// The reactor that this Deferred belongs to; what is derived from it inherits it.
    public final let reactor: Reactor

    // The stored properties are touched by one thread, and no access to one spans a call, so the
    // run-time exclusivity checks, a quarter of the cost of a callback, could never find anything.
    @safe @exclusivity(unchecked) @usableFromInline final var phase: Phase
    /// How often `pause()` was called more than `resume()`.
    @safe @exclusivity(unchecked) @usableFromInline final var pauseCount: Int32 = 0
    /// After a cancellation without a canceller: whoever works on the result does not know, and
    /// their first result is expected and dropped.
    @safe @exclusivity(unchecked) final var dropsNextResult = false
    /// See DeferredDebugging.swift.
    @safe @exclusivity(unchecked) final var hasFiringPlace = false
    /// The one consumer of the result.
    @safe @exclusivity(unchecked) @usableFromInline final var next: AnyDeferred?
    /// What this link waits for; alive as long as it is set, since its `deinit` clears it.
    @safe @exclusivity(unchecked) @usableFromInline final var upstream: Unmanaged<AnyDeferred>?
    @safe @exclusivity(unchecked) @usableFromInline final var step: Step?
    @safe @exclusivity(unchecked) @usableFromInline final var canceller: ((AnyDeferred) -> Void)?
    private final let file: StaticString
    private final let line: UInt32
    /// The value, while the phase is `succeeded`: see `Deferred.store`.
    @safe @exclusivity(unchecked) @usableFromInline final var words = StoredWords()

    /// Makes a source.
    @usableFromInline
    init(
        on reactor: Reactor, phase: Phase, canceller: ((AnyDeferred) -> Void)?, file: StaticString,
        line: UInt
    ) {
        self.reactor = reactor
        self.phase = phase
        self.canceller = canceller
        self.file = file
        self.line = UInt32(truncatingIfNeeded: line)
    }

    /// Makes a link; `attach(_:)` hangs it behind its upstream.
    @usableFromInline
    init(on reactor: Reactor, step: @escaping Step, file: StaticString, line: UInt) {
        self.reactor = reactor
        self.phase = .linked
        self.step = step
        self.file = file
        self.line = UInt32(truncatingIfNeeded: line)
    }

    /// Lets go of the callback, which will not run.
    @usableFromInline
    func releaseBody() {}

    /// Learns that what this waits for will have no result, unless somebody cancels it.
    func upstreamWasAbandoned() {}

    /// Where it was made.
    final var place: ProgramPlace { ProgramPlace(file: file, line: UInt(line)) }

    /// Releases the value in `words`.
    @usableFromInline
    func destroyStored() {}

    deinit {
        switch phase {
        case .delivered, .unfired, .cancelling, .linked, .abandoned: break
        case .succeeded: destroyStored()
        case .failed(let error): reportUnhandled(error)
        }
        if hasFiringPlace { forgetFiringPlace() }
        // The compiler releases a chain of objects of one class in a loop, so that this does not
        // recurse (SILGen's `emitRecursiveChainDestruction`); a test with 500,000 links holds it.
        next?.abandon()
    }
}

/// Room for a value: of a class, a string, an array, a number or three.
@usableFromInline
struct StoredWords {
    @usableFromInline var first: UInt = 0
    @usableFromInline var second: UInt = 0
    @usableFromInline var third: UInt = 0

    @inlinable
    init() {}
}

// MARK: - Cancelling and pausing

extension AnyDeferred {
    /// Whether the result is not known yet.
    public final var isPending: Bool {
        reactor.checkThread()
        switch phase {
        case .unfired, .cancelling, .linked, .abandoned: return true
        case .succeeded, .failed, .delivered: return false
        }
    }

    /// Cancels whatever this Deferred is waiting for.
    ///
    /// The call goes up the chain to the Deferred that is still to be fired: the source, or the
    /// Deferred that a callback returned. There the canceller runs, at most once; if it is missing
    /// or does not fire the Deferred, that fails with `CancellationError`, and the callbacks and
    /// errbacks of the chain run before this returns. Without a canceller the first late result is
    /// dropped silently; with one, a late result is the caller's mistake.
    ///
    /// It is ignored once there is a result, inside the canceller, or while the callback that
    /// computes this very result is running.
    ///
    /// - Complexity: O(*n*) in the number of links up to the one that is cancelled.
    /// - SeeAlso: Twisted `Deferred.cancel`.
    public final func cancel() {
        reactor.checkThread()
        var top = self
        while let upstream = top.upstream { top = unsafe upstream.takeUnretainedValue() }
        top.cancelHere()
    }

    private final func cancelHere() {
        switch phase {
        case .unfired:
            guard let canceller = canceller else {
                dropsNextResult = true
                return finish(.failed(CancellationError()))
            }
            self.canceller = nil
            phase = .cancelling
            canceller(self)
            if case .cancelling = phase { finish(.failed(CancellationError())) }
        case .abandoned:
            finish(.failed(CancellationError()))
        case .cancelling, .linked, .succeeded, .failed, .delivered:
            break
        }
    }

    /// Holds the result back from the next callback until ``resume()`` was called as often.
    ///
    /// Callbacks before this Deferred still run; it keeps their result.
    ///
    /// - SeeAlso: Twisted `Deferred.pause`.
    public final func pause() {
        reactor.checkThread()
        pauseCount += 1
    }

    /// Takes back one ``pause()``; after the last, a result that was held back goes on at once.
    ///
    /// Resuming what is not paused is the caller's mistake and traps.
    ///
    /// - SeeAlso: Twisted `Deferred.unpause`.
    public final func resume() {
        reactor.checkThread()
        guard pauseCount > 0 else { mistake("resume: it is not paused") }
        pauseCount -= 1
        deliver()
    }
}

// MARK: - Firing and delivering

extension AnyDeferred {
    /// Whether a result from outside is to be taken (else it is dropped); traps on a mistake.
    @usableFromInline
    final func acceptsResult(file: StaticString, line: UInt) -> Bool {
        reactor.checkThread()
        switch phase {
        case .unfired, .cancelling:
            if reactor.keepsPlaces {
                keepFiringPlace(ProgramPlace(file: file, line: line))
            }
            // The canceller often captures whoever would fire this: after a result it is a cycle.
            canceller = nil
            return true
        case .succeeded, .failed, .delivered:
            guard dropsNextResult else {
                let first = firingPlace.map { ", first at \($0)" } ?? ""
                mistake("succeed, fail: it has already fired\(first)")
            }
            dropsNextResult = false
            return false
        case .linked, .abandoned:
            mistake("succeed, fail: it is fired by the chain that it was derived from")
        }
    }

    /// Stores a result that is no value, and hands it on.
    @usableFromInline
    final func finish(_ result: Phase) {
        phase = result
        deliver()
    }

    /// Hangs a link behind this Deferred, without handing a result on yet.
    @usableFromInline
    final func attach(_ link: AnyDeferred) {
        guard next == nil, !isDelivered else { mistake("it has a callback already, and takes one") }
        next = link
        unsafe link.upstream = Unmanaged.passUnretained(self)
    }

    /// Hands the result on for as long as there is one, and somebody to take it.
    @usableFromInline
    final func deliver() {
        var current = self
        while current.hasResult, current.pauseCount == 0, let link = current.next {
            current.next = nil
            link.upstream = nil
            // Whatever hangs behind something has a step, until it is taken here.
            let step = link.step!
            link.step = nil
            if current.hasFiringPlace { current.passFiringPlace(to: link) }
            current = step(current, link)
        }
    }

    /// Hangs `link`, whose callback returned this Deferred, behind it.
    @usableFromInline
    final func attach(_ link: AnyDeferred, forward step: @escaping Step) {
        guard link !== self else { mistake("a callback returned the Deferred of its own result") }
        guard link.reactor === reactor else { mistake("it was returned on another reactor") }
        link.step = step
        attach(link)
    }

    @usableFromInline final var hasResult: Bool {
        switch phase {
        case .succeeded, .failed: true
        case .unfired, .cancelling, .linked, .abandoned, .delivered: false
        }
    }

    final var isAbandoned: Bool {
        if case .abandoned = phase { true } else { false }
    }

    private final var isDelivered: Bool {
        if case .delivered = phase { true } else { false }
    }
}

// MARK: - The end

/// Whether an error is what somebody here asked for: to be cancelled, or to end.
func isAskedFor(_ error: any Error) -> Bool {
    error is CancellationError || error is ReactorStopped || error is ShutdownRequested
        // What was begun at the end of a run.
        || (error as? IOError)?.code == .canceled
}

extension AnyDeferred {
    /// Learns that nobody will fire what this link waits for.
    private final func abandon() {
        upstream = nil
        step = nil
        phase = .abandoned
        releaseBody()
        next?.upstreamWasAbandoned()
    }

    private final func reportUnhandled(_ error: any Error) {
        // What somebody here asked for, cancelling or the end, is nothing that went wrong.
        if isAskedFor(error) { return }
        reactor.report(
            error, in: "a Deferred", place: place.description,
            firingPlace: firingPlace?.description)
    }

    /// Stops the program for what only the caller can have done wrong.
    @usableFromInline @inline(never)
    final func mistake(_ rule: String) -> Never {
        TorsionCore.mistake("Deferred made at \(file):\(line): \(rule)")
    }
}
