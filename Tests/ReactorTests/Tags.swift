// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

import Testing

extension Tag {
    /// A unit test of more than 50 ms, or any of more than a second.
    @Tag static var slow: Self
}
