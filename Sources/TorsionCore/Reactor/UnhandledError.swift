// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

internal import CTorsionCore

/// An error without a receiver, on its way to ``Reactor/unhandledError``.
public struct UnhandledError: CustomStringConvertible {
    /// The error.
    public let error: any Error
    /// Where it happened, in words: "a delayed call", "accepting on 127.0.0.1:80".
    public let context: String
    /// The place in the program that made what failed, as in "Chat/Room.swift:41", if it is known.
    public let place: String?
    /// The place that fired what failed, if it is known: see ``Reactor/isDebugging``.
    public let firingPlace: String?
    /// The connection that it happened to, if it was one.
    public let connection: ConnectionID?
    let reactor: Reactor

    /// The ``Reactor/number`` of the reactor.
    public var reactorNumber: UInt32 { reactor.number }

    /// One line, without the time, the process and the reactor.
    public var description: String { "torsion: \(text)" }

    private var text: String {
        let connection = connection.map { ", connection \($0)" } ?? ""
        let made = place.map { ", made at \($0)" } ?? ""
        let fired = firingPlace.map { ", fired at \($0)" } ?? ""
        return "unhandled error in \(context)\(connection)\(made)\(fired): \(error)"
    }

    /// Writes one line on standard error, without waiting: the time of day, the process, the reactor
    /// and ``description``.
    ///
    ///     2026-12-01T09:30:00Z chat[4711] torsion: reactor 3 (2 of 4): unhandled error in the
    ///     protocol of 10.0.0.1:5000, connection 3.17: Unreadable()
    ///
    /// The reactor's thread must not block on a pipe that is not read: a line is left out when the
    /// pipe is full. So is one that repeats the last within ten seconds, and what exceeds ten lines
    /// a second. The next line that is written, or the end of the run, tells how many were left
    /// out: `torsion: (3 more)`. Called on the reactor's thread.
    public func printToStandardError() {
        reactor.printHeadedLine("torsion: \(reactor.label): \(text)")
    }
}

/// Writes one line on standard error, by one system call, or nothing if that would have to wait.
///
/// - Parameter text: Its line breaks become spaces.
package func writeLineToStandardError(_ text: String) {
    let line = text.split(whereSeparator: \.isNewline).joined(separator: " ")
    _ = writeStandardError(line + "\n")
}

/// Thrown by a policy that refuses a peer, as the program asked it to, and that has a hook or a
/// count of its own for it: it does not count as a failure of the protocol.
public protocol PeerRefusal: Error {}

extension Reactor {
    /// Hands an error that has no other receiver to ``unhandledError``.
    ///
    /// - Parameters:
    ///   - error: The error.
    ///   - context: The work that failed, as in "the protocol of 127.0.0.1:9".
    ///   - place: Where in the program, as "file:line"; `nil` if that is not known.
    ///   - firingPlace: Where the failed Deferred fired; `nil` if that is not known.
    ///   - connection: The connection that it happened to; `nil` if it was none.
    public func report(
        _ error: any Error, in context: String, place: String? = nil, firingPlace: String? = nil,
        connection: ConnectionID? = nil
    ) {
        checkThread()
        counters.unhandledErrors += 1
        unhandledError(
            UnhandledError(
                error: error, context: context, place: place, firingPlace: firingPlace,
                connection: connection, reactor: self))
    }

    /// Counts and reports the loss of a connection for which the program is to blame: one of its
    /// callbacks threw, or it wrote on to a peer that does not read.
    ///
    /// `connectionLost` is told as well; but few programs look at it, and a server that loses one
    /// client after the other would say nothing.
    func report(_ loss: ConnectionLoss, of connection: StreamConnection) {
        let (peer, id) = (connection.peerAddress, connection.id)
        switch loss {
        case .writeLimitExceeded:
            counters.writeLimitsExceeded += 1
            report(loss, in: "writing to \(peer)", connection: id)
        case .protocolFailed(let error):
            if isAskedFor(error) || error is ConnectionLoss || error is any PeerRefusal { return }
            counters.protocolFailures += 1
            report(error, in: "the protocol of \(peer)", connection: id)
        case .closedByPeer, .closedLocally, .aborted, .failed, .truncated, .deadlinePassed: break
        }
    }

    /// Writes a line on standard error under the rules of ``UnhandledError/printToStandardError()``.
    ///
    /// For the command `torsion`, which is another package and so cannot use `package` access.
    ///
    /// - Parameter line: Its line breaks become spaces.
    @_spi(Tool) public func printLine(_ line: String) {
        checkThread()
        errorLines.add(line, at: presentTime, write: writeStandardError)
    }

    /// The same behind the time of day, where the reactor's services know it, and the process.
    func printHeadedLine(_ line: String) {
        errorLines.add(line, headedBy: lineHead, at: presentTime, write: writeStandardError)
    }

    private var lineHead: String {
        let date = (try? wallTime()).map { "\($0) " } ?? ""
        return date + processName + " "
    }

    /// Its number, and where it stands in its group: "reactor 3 (2 of 4)".
    var label: String {
        guard let group, let groupIndex else { return "reactor \(number)" }
        return "reactor \(number) (\(groupIndex + 1) of \(group.reactorCount))"
    }

    /// The end of a run: no further line may come to say how many were left out.
    func finishErrorLines() { errorLines.finish(write: writeStandardError) }
}

/// The name and the number of the process, as in "chat[4711]".
private var processName: String {
    String(unsafeUninitializedCapacity: 96) { buffer in
        // Not nil: there is room.
        unsafe buffer.withMemoryRebound(to: CChar.self) {
            unsafe torsion_process_name($0.baseAddress!, $0.count)
        }
    }
}

/// Writes all of a text, at most 4,096 bytes, or drops it if that would have to wait.
///
/// A stream socket may take the first part only. That counts as dropped, and what is written next begins on
/// a line of its own.
///
/// Public for the command `torsion` alone, which is another package.
///
/// - Parameter text: What to write, with its line breaks.
/// - Returns: Whether all of it was written.
@_spi(Tool) public func writeStandardError(_ text: String) -> Bool {
    var text = text
    return text.withUTF8 { torsion_write_standard_error($0.baseAddress, $0.count) } != 0
}

/// Writes all of a text on standard error, and waits for room if it must: for what a command says at its
/// end.
///
/// Public for the command `torsion` alone, which is another package. Not on a reactor's thread.
///
/// - Parameter text: What to write, with its line breaks.
@_spi(Tool) public func writeAllToStandardError(_ text: String) {
    var text = text
    text.withUTF8 { torsion_write_all_to_standard_error($0.baseAddress, $0.count) }
}
