// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

import TestPrograms
import Testing

/// The page of all public protocols is what the compiler knows, and leaves none out.
@Test func `the page of interfaces has every public protocol, as it is now`() throws {
    let script = Sample.repository + "/scripts/make-interfaces"
    let process = try Program(path: script, ["check", Program.folder])
    let (difference, complaints) = (process.readOutput(), process.readErrors())
    #expect(process.wait() == 0, "make interfaces writes it anew: \(complaints)\(difference)")
}
