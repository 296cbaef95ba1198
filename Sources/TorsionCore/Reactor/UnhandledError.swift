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

    /// One line.
    public var description: String {
        let made = place.map { ", made at \($0)" } ?? ""
        let fired = firingPlace.map { ", fired at \($0)" } ?? ""
        return "torsion: unhandled error in \(context)\(made)\(fired): \(error)"
    }

    /// Writes ``description`` on standard error, as one line and one system call.
    public func printToStandardError() {
        var line = description + "\n"
        line.withUTF8 { unsafe torsion_write_standard_error($0.baseAddress, $0.count) }
    }
}

extension Reactor {
    /// Hands an error that nobody else can receive to ``unhandledError``.
    public func report(
        _ error: any Error, in context: String, place: String? = nil, firingPlace: String? = nil
    ) {
        checkThread()
        counters.unhandledErrors += 1
        unhandledError(
            UnhandledError(error: error, context: context, place: place, firingPlace: firingPlace))
    }
}
