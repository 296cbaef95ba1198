// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

internal import Glibc

/// A pipe without room, whose reading end nobody reads.
public final class FullPipe {
    /// What a child may be given to write to.
    public let input: Int32
    private let output: Int32

    /// Makes one.
    public init() throws {
        var ends: [Int32] = [0, 0]
        guard pipe(&ends) == 0 else { throw CallFailure(call: "pipe", code: errno) }
        (output, input) = (ends[0], ends[1])
        _ = fcntl(output, F_SETFD, FD_CLOEXEC)
        let flags = fcntl(input, F_GETFL)
        _ = fcntl(input, F_SETFL, flags | O_NONBLOCK)
        let page = [UInt8](repeating: 0, count: 4_096)
        while write(input, page, page.count) > 0 {}
        _ = fcntl(input, F_SETFL, flags)
    }

    /// Whether somebody made it so.
    public var isNonBlocking: Bool { fcntl(input, F_GETFL) & O_NONBLOCK != 0 }

    /// Closes both ends.
    public func close() { for end in [input, output] { Glibc.close(end) } }
}
