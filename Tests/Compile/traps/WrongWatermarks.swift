// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors
import Torsion

// expect: Watermarks: need 0 <= low < high, got low 2 and high 1

print(Watermarks(low: 2, high: 1))
