// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

@_spi(Backend) public import TorsionCore

/// The part in which readiness backends differ: how descriptors are waited for.
///
/// Everything about sockets is built once above it, in this module.
///
/// Level-triggered: what is still ready is reported again by the next wait. All members are called
/// on the reactor's thread, save the waker's.
@_spi(Backend) public protocol Poller: AnyObject {
    /// Acquires the kernel objects. Called on the thread that will wait.
    func start() throws(IOError)

    /// Releases them. Every target has been removed.
    func shutDown()

    /// `CLOCK_MONOTONIC`, read once after each wait and at ``start()``.
    var now: MonotonicInstant { get }

    /// Ends a concurrent or the next wait.
    var waker: any BackendWaker { get }

    /// Begins to watch `target.descriptor`. The poller keeps the target alive until ``remove(_:)``.
    ///
    /// - Parameters:
    ///   - target: Kept until it is removed.
    ///   - events: What to wait for; never empty.
    /// - Returns: nil, or why the descriptor cannot be watched (`EPERM` for regular files).
    func add(_ target: PollTarget, for events: PollEvents) -> ErrorCode?

    /// Changes what is waited for; the set is never empty. Errors and hang-ups are reported always.
    ///
    /// - Parameters:
    ///   - target: One that was added.
    ///   - events: Replaces the former set.
    func update(_ target: PollTarget, for events: PollEvents)

    /// Ends the watch, and deliveries at once, even those of the batch that is being delivered.
    ///
    /// - Parameter target: One that was added.
    func remove(_ target: PollTarget)

    /// Waits once, delivers the batch by ``PollTarget/ready(_:)``, and returns.
    ///
    /// - Parameter deadline: nil waits without limit, a past one polls.
    /// - Throws: What `ReactorBackend.turn(until:)` does.
    func wait(until deadline: MonotonicInstant?) throws(IOError)
}

/// Something with a descriptor that a ``Poller`` watches.
///
/// A class, not a protocol, so that a C callback reaches it through one pointer, without a retain.
@_spi(Backend) open class PollTarget {
    /// The watched descriptor, which the subclass owns.
    public let descriptor: Int32

    /// The last registered events, where the poller keeps that.
    @inlinable
    public final var asked: PollEvents {
        get { askedEvents }
        set { askedEvents = newValue }
    }

    /// The poller's own record of this target, nil while it is not registered.
    @inlinable
    public final var registration: OpaquePointer? {
        get { record }
        set { record = newValue }
    }

    // Behind accessors, since an importing module would check each access to a stored property
    // (38 instructions): `@exclusivity(unchecked)` does not reach that far.
    @exclusivity(unchecked) @usableFromInline final var askedEvents: PollEvents = []
    @exclusivity(unchecked) @usableFromInline final var record: OpaquePointer?

    /// A C function for a ready descriptor, called with the target and the bits of ``PollEvents``.
    ///
    /// It calls ``ready(_:)``, which costs a step that the kind of target on the hot path leaves out.
    public typealias Callback =
        @convention(c) (_ target: UnsafeMutableRawPointer, _ events: Int32) -> Void

    /// How a poller reaches this kind of target from C.
    public final let callback: Callback

    /// A target for a descriptor.
    ///
    /// - Parameter descriptor: Open; the subclass owns it.
    public init(descriptor: Int32) {
        self.descriptor = descriptor
        callback = callReady
    }

    /// A target of a kind that is called without a step between.
    init(descriptor: Int32, callback: @escaping Callback) {
        self.descriptor = descriptor
        self.callback = callback
    }

    /// Delivers what a poller found, unless the target was removed while its batch was delivered.
    ///
    /// - Parameter events: The events that were found; never empty.
    public final func deliver(_ events: PollEvents) {
        if record != nil { ready(events) }
    }

    /// The descriptor is ready.
    ///
    /// Called from inside ``Poller/wait(until:)`` only, with at least one event; the subclass may
    /// remove this or any other target during the call.
    ///
    /// - Parameter events: The events that were found; never empty.
    open func ready(_ events: PollEvents) {
        mistake("PollTarget: ready(_:) is abstract")
    }

    /// It could not be watched when the core asked for it: tells whom it concerns, in a turn.
    func watchWasRefused(_ code: ErrorCode) {}
}

/// A function and not a closure, so that no actor's isolation is inherited; without a retain, since
/// the poller keeps the target until its batch is done.
private func callReady(_ target: UnsafeMutableRawPointer, _ events: Int32) {
    Unmanaged<PollTarget>.fromOpaque(target)._withUnsafeGuaranteedRef { target in
        target.ready(PollEvents(rawValue: UInt8(truncatingIfNeeded: events)))
    }
}

/// The events that a descriptor is watched for, and those that were found.
@frozen
@_spi(Backend) public struct PollEvents: OptionSet, Sendable {
    /// The bits.
    public let rawValue: UInt8

    /// Makes a set of its bits.
    ///
    /// - Parameter rawValue: Bits as those of the constants; others are kept.
    @inlinable
    public init(rawValue: UInt8) { self.rawValue = rawValue }

    /// `EPOLLIN`: reading would not block.
    @inlinable public static var readable: PollEvents { PollEvents(rawValue: 1) }
    /// `EPOLLOUT`: writing would not block.
    @inlinable public static var writable: PollEvents { PollEvents(rawValue: 2) }
    /// `EPOLLRDHUP`, `UV_DISCONNECT`: the peer shut down writing, or more.
    @inlinable public static var disconnected: PollEvents { PollEvents(rawValue: 4) }
    /// `EPOLLERR` (libuv: `UV_EBADF`): an error is pending, `SO_ERROR` tells which.
    ///
    /// Found only.
    @inlinable public static var error: PollEvents { PollEvents(rawValue: 8) }
    /// `EPOLLHUP`: both directions have ended.
    ///
    /// Found only.
    @inlinable public static var hangUp: PollEvents { PollEvents(rawValue: 16) }
    /// Waits for errors and hang-ups only.
    ///
    /// Asked only.
    @inlinable public static var errorsOnly: PollEvents { PollEvents(rawValue: 32) }
}
