// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

import Glibc

/// Says on the terminal what is being measured, on one line that is written over.
struct Progress {
    private let isTerminal = isatty(2) == 1
    private let start = ContinuousClock.now

    /// Shows `text` until the next.
    ///
    /// Where standard error is a file or a pipe only ``note(_:)`` writes.
    func show(_ text: String) {
        guard isTerminal else { return }
        writeText("\r\u{1B}[K[\(elapsed)] \(text)", to: 2)
    }

    /// Writes `text` on a line that stays.
    func note(_ text: String) {
        writeText((isTerminal ? "\r\u{1B}[K" : "") + "[\(elapsed)] \(text)\n", to: 2)
    }

    /// Clears the line, before a table is printed.
    func clear() {
        if isTerminal { writeText("\r\u{1B}[K", to: 2) }
    }

    private var elapsed: String {
        let seconds = ContinuousClock.now.duration(to: start).components.seconds.magnitude
        return "\(seconds / 60):" + (seconds % 60 < 10 ? "0" : "") + "\(seconds % 60)"
    }
}

/// Writes all of `text` to a descriptor, unbuffered: a table is seen as soon as it is known.
func writeText(_ text: String, to descriptor: CInt = 1) {
    var rest = Array(text.utf8)[...]
    while !rest.isEmpty {
        let count = rest.withUnsafeBytes { write(descriptor, $0.baseAddress, $0.count) }
        if count < 0 && errno == EINTR { continue }
        guard count > 0 else { return }
        rest = rest.dropFirst(count)
    }
}
