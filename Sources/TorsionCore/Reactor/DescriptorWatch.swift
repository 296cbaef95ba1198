// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

/// A descriptor of the program that a reactor waits for.
///
/// The descriptor stays the program's, which cancels the watch before it closes it.
///
/// - SeeAlso: Twisted `IReactorFDSet`; libuv `uv_poll_t`.
public final class DescriptorWatch {
    /// The reactor that this watch belongs to.
    public let reactor: Reactor

    /// The watched descriptor.
    public let descriptor: Int32

    private var watch: (any BackendWatch)?
    private var body: ((Readiness) throws -> Void)?
    private var slot: Int32 = -1

    fileprivate init(
        reactor: Reactor, descriptor: Int32, interest: Readiness,
        body: @escaping (Readiness) throws -> Void
    ) throws(IOError) {
        self.reactor = reactor
        self.descriptor = descriptor
        self.body = body
        watch = try reactor.backend.watch(descriptor: descriptor, for: interest, receiver: self)
        slot = reactor.watches.insert(self)
    }

    /// Whether it may still call its closure.
    public var isActive: Bool { watch != nil }

    /// Changes what is waited for; an empty set pauses the watch.
    ///
    /// - Parameter interest: Replaces the former set.
    public func update(for interest: Readiness) {
        reactor.checkThread()
        watch?.update(interest)
    }

    /// Ends the watch and releases its closure, which is not called again.
    ///
    /// Harmless when repeated.
    public func cancel() {
        reactor.checkThread()
        guard let watch else { return }
        self.watch = nil
        body = nil
        watch.close()
        reactor.watches.remove(slot)
    }
}

@_spi(Backend) extension DescriptorWatch: WatchReceiver {
    /// Called by the backend.
    ///
    /// - Parameter readiness: The part of the interest that is ready.
    public func watchDidBecomeReady(_ readiness: Readiness) {
        guard let body else { return }
        reactor.performEvent {
            do { try body(readiness) } catch {
                reactor.report(error, in: "a watch of descriptor \(descriptor)")
            }
        }
    }

    /// Called by the backend.
    ///
    /// - Parameter code: Why.
    public func watchDidFail(_ code: ErrorCode) {
        guard watch != nil else { return }
        cancel()
        let error = IOError(.watch, function: "", code: code, subject: "descriptor \(descriptor)")
        reactor.report(error, in: "a watch of descriptor \(descriptor)")
    }
}

extension Reactor {
    /// Calls `body` each turn in which the descriptor is ready, until the watch is cancelled.
    ///
    /// Level-triggered: a descriptor that stays ready is reported again. An error that `body`
    /// throws, and the end of a watch whose descriptor was closed, go to ``unhandledError``.
    ///
    /// - Parameters:
    ///   - descriptor: Stays yours; cancel the watch before you close it.
    ///   - interest: What to wait for; an empty set begins paused.
    ///   - body: Called on the reactor with what is there of it.
    /// - Returns: The watch, which goes on until it is cancelled or the run ends.
    /// - Throws: ``IOError`` of operation `watch`, for what cannot be waited for.
    public func watch(
        descriptor: Int32, for interest: Readiness,
        _ body: @escaping (Readiness) throws -> Void
    ) throws(IOError) -> DescriptorWatch {
        checkThread()
        try startIfNeeded()
        return try DescriptorWatch(
            reactor: self, descriptor: descriptor, interest: interest, body: body)
    }
}
