// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors
import TorsionCore

// What only authors of backends need is no part of a program's API.
// expect: cannot find type 'BackendStream' in scope
func end(_ stream: any BackendStream) { stream.close() }
