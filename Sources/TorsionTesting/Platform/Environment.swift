// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

internal import Glibc

/// Variables of the process, and its standard error.
enum Environment {
    /// A variable's value, nil if it is not set or empty: `getenv(3)`.
    static func value(_ name: String) -> String? {
        guard let text = unsafe getenv(name) else { return nil }
        let value = unsafe String(cString: text)
        return value.isEmpty ? nil : value
    }

    /// Writes a line at once, so that it is seen even if the process traps next.
    static func print(_ line: String) {
        var line = line + "\n"
        line.withUTF8 { unsafe _ = write(STDERR_FILENO, $0.baseAddress, $0.count) }
    }
}
