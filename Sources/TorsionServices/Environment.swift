// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

internal import CTorsionUV

/// The environment of the process.
package enum Environment {
    /// The value of a variable, nil if it is not set.
    ///
    /// `getenv(3)`.
    package static func value(of name: String) -> String? {
        torsion_uv_environment(name).map { String(cString: $0) }
    }
}
