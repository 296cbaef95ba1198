// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

public import Torsion

#if IOUring
internal import TorsionURing
#endif

extension BackendChoice {
    /// Every backend that this build has: tests run over each.
    public static let tested: [BackendChoice] = {
        #if IOUring
        linked + [.ioURing]
        #else
        linked
        #endif
    }()
}
