// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

internal import Glibc

/// A pipe of the system, `pipe2(2)`, closed when it is released.
final class Pipe {
    let output: Int32
    private let input: Int32
    private var isOpen = true

    init() {
        var ends: [Int32] = [0, 0]
        precondition(unsafe pipe(&ends) == 0, "pipe: errno \(errno)")
        output = ends[0]
        input = ends[1]
    }

    deinit { close() }

    func write() {
        var byte: UInt8 = 1
        unsafe Glibc.write(input, &byte, 1)
    }

    func read() {
        var byte: UInt8 = 0
        unsafe Glibc.read(output, &byte, 1)
    }

    func close() {
        guard isOpen else { return }
        isOpen = false
        Glibc.close(output)
        Glibc.close(input)
    }
}
