// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

internal import CTorsionCore

/// An error that nobody could receive, on its way to ``Reactor/unhandledError``.
public struct UnhandledError: CustomStringConvertible {
    /// What went wrong.
    public let error: any Error
    /// Where it happened, in words: "a delayed call", "accepting on 127.0.0.1:80".
    public let context: String
    /// The place in the program that made what failed, as in "Chat/Room.swift:41", if it is known.
    public let place: String?
    /// The place that fired what failed, if it is known: see ``Reactor/debugsDeferreds``.
    public let firingPlace: String?
    let reactor: Reactor

    /// One line.
    public var description: String {
        let made = place.map { ", made at \($0)" } ?? ""
        let fired = firingPlace.map { ", fired at \($0)" } ?? ""
        return "torsion: unhandled error in \(context)\(made)\(fired): \(error)"
    }

    /// Writes ``description`` on standard error as one line, without waiting.
    ///
    /// The reactor's thread must not block because nobody reads: a line for which there is no room is
    /// left out. So is one that repeats the last within ten seconds, and what exceeds ten lines a
    /// second. The next line that is written, or the end of the run, tells how many were left out:
    /// `torsion: (3 more)`. Called on the reactor's thread.
    public func printToStandardError() { reactor.printLine(description) }
}

extension Reactor {
    /// Hands an error that nobody else can receive to ``unhandledError``.
    public func report(
        _ error: any Error, in context: String, place: String? = nil, firingPlace: String? = nil
    ) {
        checkThread()
        counters.unhandledErrors += 1
        unhandledError(
            UnhandledError(
                error: error, context: context, place: place, firingPlace: firingPlace,
                reactor: self))
    }

    /// Writes a line on standard error under the rules of ``UnhandledError/printToStandardError()``.
    package func printLine(_ line: String) {
        checkThread()
        errorLines.add(line, at: presentTime, write: writeStandardError)
    }

    /// The end of a run: no further line may come to say how many were left out.
    func finishErrorLines() { errorLines.finish(write: writeStandardError) }
}

/// Writes all of a text, at most 4,096 bytes, or nothing if that would have to wait.
///
/// - Returns: Whether it was written.
package func writeStandardError(_ text: String) -> Bool {
    var text = text
    return text.withUTF8 { torsion_write_standard_error($0.baseAddress, $0.count) } != 0
}
