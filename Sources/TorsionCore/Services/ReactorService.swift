// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

/// A part of a program that is started and stopped as one: a port, a client, a beat.
///
/// A ``ServiceTree`` starts several in order and stops them in reverse. ``ListeningPort``,
/// ``ClientService``, ``ServiceTree`` and ``LoopingService`` conform, and `ProcessService` of
/// `TorsionProcesses`. Every member is called on the
/// reactor.
///
/// - SeeAlso: Twisted `IService`.
public protocol ReactorService: AnyObject {
    /// Begins. Called once.
    ///
    /// - Parameter ended: To be called once if the service ends by itself after its start, with the
    ///   reason; not from inside this call, and not because it is stopped.
    /// - Returns: Fires when the service can be used, or fails if it cannot. It is cancelled when the
    ///   start is to be given up.
    func startService(ended: @escaping (any Error) -> Void) -> Deferred<Void>

    /// Ends. Called once, after the start, also if that has not fired.
    ///
    /// - Parameter gracePeriod: How long it may take. After that it is not waited for.
    /// - Returns: Fires when it has ended.
    func stopService(within gracePeriod: Duration) -> Deferred<Void>
}

/// How a ``ServiceTree`` reacts when one of its services ends by itself.
public enum ServiceEndPolicy: Sendable {
    /// The service is made and started again, behind the delays of the policy.
    ///
    /// One that ran for longer than ``RetryPolicy/longestDelay`` has been well, and begins with the
    /// first delay; one that does not come so far uses up its ``RetryPolicy/attemptLimit``, and then
    /// the tree stops.
    case restart(RetryPolicy)
    /// The tree stops, with this service's error.
    case stopAll
    /// The tree goes on; the error is reported to ``Reactor/unhandledError``.
    case ignore
}

/// A service of a ``ServiceTree`` that could not start, or has ended the tree.
public struct ServiceFailure: Error, CustomStringConvertible {
    /// The name that the service was added by.
    public let name: String
    /// Why.
    public let error: any Error

    /// One line.
    public var description: String { "the service \(name): \(error)" }
}

extension ListeningPort: ReactorService {
    /// It listens already.
    ///
    /// - Parameter ended: Not called: a port does not end by itself.
    /// - Returns: A Deferred that has succeeded.
    public func startService(ended: @escaping (any Error) -> Void) -> Deferred<Void> {
        .succeeded((), on: reactor)
    }

    /// Calls ``drain(within:)``.
    ///
    /// - Parameter gracePeriod: How long connections may take to end.
    /// - Returns: A Deferred that succeeds when the last connection has ended.
    public func stopService(within gracePeriod: Duration) -> Deferred<Void> {
        drain(within: gracePeriod)
    }
}

extension ClientService: ReactorService {
    /// Starts, and waits for the first connection.
    ///
    /// - Parameter ended: Called if the retry policy gives up after the start.
    /// - Returns: A Deferred that succeeds with the first connection.
    public func startService(ended: @escaping (any Error) -> Void) -> Deferred<Void> {
        whenEnded = ended
        start()
        return whenConnected().addCallback { _ in }
    }

    /// Stops.
    ///
    /// - Parameter gracePeriod: Ignored: the connection is asked to end, and waited for.
    /// - Returns: As ``stop(file:line:)``.
    public func stopService(within gracePeriod: Duration) -> Deferred<Void> {
        whenEnded = nil
        return stop()
    }
}

/// A ``LoopingCall`` as a service: it ends by itself when its closure throws.
public final class LoopingService: ReactorService {
    private let call: LoopingCall
    private let interval: Duration
    private var done: Deferred<Void>?

    /// - Parameters:
    ///   - call: Which is started and stopped.
    ///   - interval: As of ``LoopingCall/start(every:first:file:line:)``.
    public init(_ call: LoopingCall, every interval: Duration) {
        self.call = call
        self.interval = interval
    }

    /// Makes the first call.
    ///
    /// - Parameter ended: Called if the closure throws.
    /// - Returns: A Deferred that has succeeded.
    public func startService(ended: @escaping (any Error) -> Void) -> Deferred<Void> {
        let reactor = call.reactor
        let over = DeferredEvent(on: reactor)
        done = over.wait()
        call.start(every: interval).addBoth { result in
            over.set()
            guard case .failure(let error) = result, !(error is CancellationError) else { return }
            // Not inside the start.
            reactor.callLater(.zero) { ended(error) }
        }.ignore()
        return .succeeded((), on: reactor)
    }

    /// Ends the calls, and waits for one that is under way.
    ///
    /// - Parameter gracePeriod: Ignored: a call that is under way is waited for.
    /// - Returns: A Deferred that succeeds when it has ended.
    public func stopService(within gracePeriod: Duration) -> Deferred<Void> {
        if call.isRunning { call.stop() }
        return done.take() ?? .succeeded((), on: call.reactor)
    }
}
