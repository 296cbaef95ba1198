// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

internal import Glibc
internal import Synchronization

/// A pipe of the system, `pipe(2)`, closed when it is released.
final class Pipe {
    let output: Int32
    private let input: Int32
    private var isOpen = true

    /// Makes one.
    ///
    /// `isApart`: The output's number is one that nobody else is given when the pipe is closed. The
    /// kernel gives out the lowest number that is free, so one from the upper half of those allowed
    /// is only had by asking for it; and it is asked for once.
    init(isApart: Bool = false) {
        let ends = Self.makeEnds()
        input = ends.input
        guard isApart else {
            output = ends.output
            return
        }
        output = fcntl(ends.output, F_DUPFD_CLOEXEC, Self.numberApart())
        precondition(output >= 0, "fcntl: errno \(errno)")
        Glibc.close(ends.output)
    }

    private static func makeEnds() -> (output: Int32, input: Int32) {
        let ends = PipeEnds.make()
        // A program that another thread starts would keep the pipe alive behind its end here.
        for end in [ends.output, ends.input] { _ = fcntl(end, F_SETFD, FD_CLOEXEC) }
        return ends
    }

    private static let timesApart = Atomic(0)

    private static func numberApart() -> Int32 {
        var limit = rlimit()
        unsafe getrlimit(__rlimit_resource_t(RLIMIT_NOFILE.rawValue), &limit)
        // The kernel's table of them is as long as the highest number.
        let half = Int(min(limit.rlim_cur, 65_536) / 2)
        let count = timesApart.wrappingAdd(1, ordering: .relaxed).oldValue
        return Int32(half + count % max(1, half))
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

    /// Whether anybody has a descriptor of the output's number.
    var isNumberTaken: Bool { fcntl(output, F_GETFD) >= 0 }

    func close() {
        guard isOpen else { return }
        isOpen = false
        Glibc.close(output)
        Glibc.close(input)
    }
}
