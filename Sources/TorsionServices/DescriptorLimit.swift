// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

internal import CTorsionUV

/// How many descriptors the process may have.
package enum DescriptorLimit {
    /// How many may be opened beside those that are open now, by `RLIMIT_NOFILE` of `getrlimit(2)`.
    package static var room: Int {
        // The standard streams, where nobody can tell.
        let count = max(3, Int(torsion_uv_open_descriptors()))
        return Int(torsion_uv_descriptor_limit()) - count
    }
}
