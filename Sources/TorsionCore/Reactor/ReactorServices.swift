// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

/// The services around a reactor: names, signals, threads and files.
///
/// `TorsionServices` provides it over libuv, the simulator its own; a reactor makes its services
/// when one of them is first used.
public protocol ReactorServices: AnyObject {
    /// Resolves host names.
    var resolver: any NameResolver { get }

    /// Delivers signals.
    var signals: any SignalSource { get }

    /// Runs what blocks on other threads. By default there are none.
    var threads: any WorkerThreads { get }

    /// Opens files, on whichever thread asks. By default there are none.
    var files: any FileSystem { get }

    /// Makes the notifier of changes in folders; ``FileWatch`` asks for it once. By default fails.
    ///
    /// - Returns: One without a watch yet.
    /// - Throws: ``IOError`` of operation `watch`, for example when the user has 128 already.
    func makeFileNotifier() throws(IOError) -> any FileNotifier

    /// The descriptors that the parent opened for the process: `sd_listen_fds(3)`. By default there
    /// are none.
    var inheritedDescriptors: [InheritedDescriptor] { get }

    /// The time of day. By default fails.
    ///
    /// - Throws: ``IOError`` if it is not known here.
    func wallTime() throws(IOError) -> WallTime

    /// Unpredictable bytes. By default fails.
    ///
    /// - Parameter count: How many, 0 or more.
    /// - Returns: So many bytes.
    /// - Throws: ``IOError`` if they are not available.
    func randomBytes(count: Int) throws(IOError) -> [UInt8]

    /// Releases everything, watches and guests too. Called once, at the end of a run.
    func shutDown()
}

extension ReactorServices {
    /// Refuses all work.
    public var threads: any WorkerThreads { NoThreads() }

    /// An empty list.
    public var inheritedDescriptors: [InheritedDescriptor] { [] }

    /// Fails.
    public func makeFileNotifier() throws(IOError) -> any FileNotifier {
        throw IOError(.watch, function: "", code: .notSupported, subject: "files")
    }

    /// Refuses every path.
    public var files: any FileSystem { NoFiles() }
}

private final class NoThreads: WorkerThreads {
    var limit = 0

    func run(_ work: @escaping @Sendable () -> Void) throws(IOError) {
        throw IOError(.start, function: "", code: .notSupported, subject: "a thread")
    }
}

/// Turns host names into addresses, without blocking.
public protocol NameResolver: AnyObject {
    /// Looks a name up. Cancelling the Deferred gives up.
    ///
    /// - Parameters:
    ///   - host: A host name or a numeric address.
    ///   - port: Put into each address.
    /// - Returns: At least one address, in the order of preference of RFC 6724; or an ``IOError`` of
    ///   operation `resolve` that names the host.
    func resolve(_ host: String, port: UInt16) -> Deferred<[SocketAddress]>

    /// Looks a name up, and hands over addresses as they arrive.
    ///
    /// By default all arrive together.
    ///
    /// - Parameters:
    ///   - host: A host name or a numeric address.
    ///   - port: Put into each address.
    ///   - found: Called with some of the addresses, such as those of one family, any number of times
    ///     until the Deferred fires, and perhaps before this returns. A connection attempt can begin
    ///     with them: RFC 8305 §3.
    /// - Returns: As ``resolve(_:port:)``: all addresses.
    func resolve(
        _ host: String, port: UInt16, found: @escaping ([SocketAddress]) -> Void
    ) -> Deferred<[SocketAddress]>
}

extension NameResolver {
    /// Looks a name up; all addresses arrive together.
    ///
    /// - Parameters:
    ///   - host: A host name or a numeric address.
    ///   - port: Put into each address.
    ///   - found: Not called: all addresses come with the Deferred.
    /// - Returns: As ``resolve(_:port:)``.
    public func resolve(
        _ host: String, port: UInt16, found: @escaping ([SocketAddress]) -> Void
    ) -> Deferred<[SocketAddress]> {
        resolve(host, port: port)
    }
}

/// Delivers signals of the process on the reactor's thread.
public protocol SignalSource: AnyObject {
    /// Catches a signal until the registration is cancelled, which brings back the handler that
    /// was there before.
    ///
    /// - Parameters:
    ///   - signal: Any but those that cannot be caught: `SIGKILL`, `SIGSTOP`.
    ///   - body: Called on the reactor's thread, once or more for several signals that arrived
    ///     together.
    /// - Returns: Catches until it is cancelled.
    /// - Throws: ``IOError`` of operation `signal` for one that cannot be caught.
    func catchSignal(
        _ signal: Signal, _ body: @escaping (Signal) -> Void
    ) throws(IOError) -> any SignalRegistration

    /// Whether the process ignores this signal, as it does if its parent had it ignored:
    /// `nohup(1)`, a job in the background of a shell script. By default false.
    ///
    /// - Parameter signal: Any.
    /// - Returns: Whether its disposition is `SIG_IGN`.
    func isIgnored(_ signal: Signal) -> Bool

    /// Ends the process by this signal, with its default action. Does not return.
    ///
    /// - Parameter signal: One whose default action ends the process.
    func die(by signal: Signal) -> Never
}

extension SignalSource {
    /// Always false.
    ///
    /// - Parameter signal: Ignored.
    /// - Returns: False.
    public func isIgnored(_ signal: Signal) -> Bool { false }
}

/// Threads beside the reactor's, for work that blocks or takes long.
///
/// A program uses them through ``Reactor/deferToThread(file:line:_:)``.
public protocol WorkerThreads: AnyObject {
    /// How many threads there are at most. They are started when there is work for them; a lower
    /// limit does not end threads that run.
    var limit: Int { get set }

    /// Runs work on one of the threads, as soon as one is free, in the order in which it came.
    ///
    /// - Parameter work: Called once, on one of the threads.
    /// - Throws: ``IOError`` of operation `start` if a first thread cannot be started.
    func run(_ work: @escaping @Sendable () -> Void) throws(IOError)
}

/// A signal that is being caught.
public protocol SignalRegistration: AnyObject {
    /// Stops catching. Harmless when repeated.
    func cancel()
}

/// A signal of the process, `signal(7)`.
public struct Signal: Hashable, Sendable, CustomStringConvertible {
    /// The number that the platform uses.
    public let number: Int32

    /// A signal by its number.
    ///
    /// - Parameter number: As in `signal(7)`.
    public init(number: Int32) { self.number = number }

    /// `SIGHUP`, 1 on every platform.
    public static let hangUp = Signal(number: 1)
    /// `SIGINT`, 2 on every platform: Ctrl-C.
    public static let interrupt = Signal(number: 2)
    /// `SIGQUIT`, 3 on every platform: Ctrl-\.
    public static let quit = Signal(number: 3)
    /// `SIGKILL`, 9 on every platform: ends a process at once, which cannot catch it.
    public static let kill = Signal(number: 9)
    /// `SIGTERM`, 15 on every platform: a polite request to end.
    public static let terminate = Signal(number: 15)

    /// Its name, if it has the same number on every platform; else the number.
    public var description: String {
        switch number {
        case 1: "SIGHUP"
        case 2: "SIGINT"
        case 3: "SIGQUIT"
        case 4: "SIGILL"
        case 6: "SIGABRT"
        case 8: "SIGFPE"
        case 9: "SIGKILL"
        case 11: "SIGSEGV"
        case 13: "SIGPIPE"
        case 14: "SIGALRM"
        case 15: "SIGTERM"
        default: "signal \(number)"
        }
    }
}
