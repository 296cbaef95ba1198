// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

@_spi(Backend) internal import TorsionCore

/// What carries a child: the kernel, or a closure in a simulation.
///
/// Used by one ``ChildProcess`` on the reactor's thread. Released unreaped it kills the child and
/// waits for it.
protocol ChildCarrier: AnyObject {
    /// The child's number.
    var processID: Int32 { get }

    /// Calls `body` once in a later turn, when the child has exited. The child stays a zombie.
    func awaitExit(_ body: @escaping (ProcessStatus) -> Void) throws(IOError)

    /// Sends a signal to the child alone, or to its group.
    ///
    /// - Throws: `IOError` of operation `signal`.
    func send(_ signal: Signal, toGroup: Bool) throws(IOError)

    /// Changes the size of the child's terminal, if it has one.
    func resize(_ size: TerminalSize) throws(IOError)

    /// The stream of the child's terminal is closed: it is hung up.
    func hangUp()

    /// Kills the child's group, and waits for the child, a second at most.
    func killAndWait() -> ProcessStatus

    /// Takes the zombie away.
    func reap()
}

/// Streams to a child that has just been started.
struct ChildStreams {
    /// By the child's number, in that order.
    var streams: [(number: Int32, stream: any BackendStream)] = []

    /// They were not taken over.
    func close() { for entry in streams { entry.stream.close() } }
}
