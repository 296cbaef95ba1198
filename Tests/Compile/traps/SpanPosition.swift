// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors
import Torsion

// expect: RawSpan: position 5 is out of range: there are 5 bytes

let bytes = Bytes("hello")
print(bytes.span[5])
