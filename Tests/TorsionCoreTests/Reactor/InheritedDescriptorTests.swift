// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

import Testing
import TorsionCore

@Suite struct InheritedDescriptorTests {
    private func list(_ pid: String?, _ count: String?, _ names: String? = nil) -> [String] {
        InheritedDescriptor.list(
            processID: 42, listenPID: pid, listenFDs: count, listenFDNames: names
        ).map { "\($0.number) \($0.name)" }
    }

    @Test func `they are counted from 3, with their names`() {
        #expect(list("42", "2", "http:https") == ["3 http", "4 https"])
        #expect(list("42", "3", "http") == ["3 http", "4 unknown", "5 unknown"])
        #expect(list("42", "2", "::extra") == ["3 unknown", "4 unknown"])
        #expect(list("42", "0", "") == [])
    }

    @Test(arguments: ["41", "", " 42", "+42", "0x2a", "42 ", "4294967338"])
    func `what is meant for another process, or for none, is left alone`(pid: String) {
        #expect(list(pid, "1") == [])
    }

    @Test(arguments: ["-1", "", "1 ", "+1", "99999999999999999999", "4097"])
    func `a count that systemd does not write is none`(count: String) {
        #expect(list("42", count) == [])
    }

    @Test func `without the variables there are none`() {
        #expect(list(nil, "1") == [] && list("42", nil) == [])
    }
}
