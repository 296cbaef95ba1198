// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

internal import Glibc

/// SIGPIPE, which the engine ignores from its first start on.
///
/// For a peer that goes must not end the process. A command that writes to standard output owes it to the shell all the same: `… | head -1`
/// ends each tool before it by that signal, and in silence.
enum BrokenPipeSignal {
    /// Whether the parent left it to its default, which ends the process.
    ///
    /// To be asked before the first reactor starts: `signal(2)`.
    static var isDefault: Bool {
        let action = signal(SIGPIPE, SIG_DFL)
        signal(SIGPIPE, action)
        return unsafeBitCast(action, to: Int.self) == unsafeBitCast(SIG_DFL, to: Int.self)
    }

    /// Ends the process by it.
    static func raise() -> Never {
        signal(SIGPIPE, SIG_DFL)
        _ = Glibc.raise(SIGPIPE)
        // Blocked: what a shell would report.
        exit(128 + SIGPIPE)
    }
}
