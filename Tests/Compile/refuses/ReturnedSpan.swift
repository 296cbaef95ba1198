// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors
import Torsion

// The span would outlive the bytes that it points into.
// expect: a function cannot return a ~Escapable result
func greeting() -> RawSpan {
    let bytes = Bytes("hello")
    return bytes.span
}
