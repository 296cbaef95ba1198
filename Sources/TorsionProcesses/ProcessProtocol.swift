// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

@_spi(Backend) public import TorsionCore

/// A program's side of one child process.
///
/// The engine calls these methods on the reactor, in this order, and never one inside another:
///
///     makeProtocol*  processStarted  dataReceived*  processExited  dataReceived*  processEnded
///
///     final class Job: ProcessProtocol {
///         func dataReceived(_ bytes: RawSpan, on descriptor: Int32, of child: ChildProcess) {
///             print("\(descriptor): \(String(decoding: bytes))")
///         }
///         func processEnded(_ status: ProcessStatus, _ child: ChildProcess) { print(status) }
///     }
///
/// All methods have defaults. The child keeps its protocol until ``processEnded(_:_:)`` has returned.
///
/// - SeeAlso: Twisted `IProcessProtocol`.
public protocol ProcessProtocol: AnyObject {
    /// Makes the protocol of one of the child's streams for which the command has not named one, or
    /// returns nil: then ``dataReceived(_:on:of:)`` gets what arrives. By default nil.
    ///
    /// - Parameters:
    ///   - descriptor: The number in the child.
    ///   - child: The child, whose streams are not all there yet.
    /// - Returns: The stream's protocol.
    /// - Throws: An error that kills the child, and is reported to the reactor's `unhandledError`.
    func makeProtocol(
        for descriptor: Int32, of child: ChildProcess
    ) throws -> (any StreamProtocol)?

    /// The child runs, and its streams can be used. Called once, before the start returns; the
    /// default is empty.
    ///
    /// - Parameter child: The child.
    /// - Throws: An error that kills the child, and is reported to the reactor's `unhandledError`.
    func processStarted(_ child: ChildProcess) throws

    /// Bytes arrived of a stream without a protocol of its own, at least one. By default they are
    /// dropped.
    ///
    /// - Parameters:
    ///   - bytes: Borrowed until the call returns.
    ///   - descriptor: The number in the child.
    ///   - child: The child, whose ``ChildProcess/transport(of:)`` can be paused.
    /// - Throws: An error that aborts the stream, and is reported to the reactor's `unhandledError`.
    func dataReceived(_ bytes: RawSpan, on descriptor: Int32, of child: ChildProcess) throws

    /// The child has exited; more output may come. Called once; the default is empty.
    ///
    /// It is still a zombie, so that a signal to its group cannot reach a stranger.
    ///
    /// - Parameters:
    ///   - status: How it ended.
    ///   - child: The child.
    func processExited(_ status: ProcessStatus, _ child: ChildProcess)

    /// The child has exited, all of its output was delivered, and all of its streams are closed.
    /// Called once, last; the default is empty.
    ///
    /// - Parameters:
    ///   - status: How it ended.
    ///   - child: The child, which is gone.
    func processEnded(_ status: ProcessStatus, _ child: ChildProcess)

    /// The reactor is stopping and asks the child to end. By default ends its standard input, and
    /// sends SIGTERM to its group.
    ///
    /// A child that is left is killed, after ``Command/endTimeout`` or three quarters of the time that
    /// the stop has left. A stop without a grace period kills at once, and does not ask.
    ///
    /// - Parameter child: The child.
    func shutdownRequested(_ child: ChildProcess)
}

extension ProcessProtocol {
    /// Nil.
    ///
    /// - Parameters:
    ///   - descriptor: Ignored.
    ///   - child: Ignored.
    /// - Returns: `nil`.
    /// - Throws: Does not throw.
    public func makeProtocol(
        for descriptor: Int32, of child: ChildProcess
    ) throws -> (any StreamProtocol)? { nil }

    /// The empty default.
    ///
    /// - Parameter child: Ignored.
    /// - Throws: Does not throw.
    public func processStarted(_ child: ChildProcess) throws {}

    /// Drops the bytes.
    ///
    /// - Parameters:
    ///   - bytes: Ignored.
    ///   - descriptor: Ignored.
    ///   - child: Ignored.
    /// - Throws: Does not throw.
    public func dataReceived(_ bytes: RawSpan, on descriptor: Int32, of child: ChildProcess) throws
    {}

    /// The empty default.
    ///
    /// - Parameters:
    ///   - status: Ignored.
    ///   - child: Ignored.
    public func processExited(_ status: ProcessStatus, _ child: ChildProcess) {}

    /// The empty default.
    ///
    /// - Parameters:
    ///   - status: Ignored.
    ///   - child: Ignored.
    public func processEnded(_ status: ProcessStatus, _ child: ChildProcess) {}

    /// Ends the child's standard input, and sends SIGTERM to its group.
    ///
    /// - Parameter child: Asked to end.
    public func shutdownRequested(_ child: ChildProcess) { child.requestEnd() }
}

/// For a child that nobody watches.
final class IgnoredProcess: ProcessProtocol {}
