// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

internal import CTorsionSockets
@_spi(Backend) package import TorsionCore

/// Tells a wait that the kernel refuses for good from one for which it has no memory at the moment.
///
/// It costs a wait that succeeds nothing: a series of failures ends by time alone.
package struct FailedWaits {
    /// For so long a shortage is taken for one that passes.
    private static let shortageLimit: UInt64 = 1_000_000_000
    /// A failure that comes so long after the last is another series' first.
    private static let gap: UInt64 = 100_000_000

    private var began: UInt64 = 0
    private var latest: UInt64 = 0

    /// No wait has failed.
    package init() {}

    /// A wait has failed; waits a millisecond, so that whoever tries again is no busy loop.
    ///
    /// - Throws: ``IOError`` of operation `wait`, unless another try may succeed.
    package mutating func note(_ code: ErrorCode, _ function: String) throws(IOError) {
        let now = torsion_monotonic_nanoseconds()
        if now > latest + Self.gap { began = now }
        torsion_nap()
        latest = torsion_monotonic_nanoseconds()
        guard !code.isShortage || now > began + Self.shortageLimit else { return }
        throw IOError(.wait, function: function, code: code, subject: "events")
    }
}

extension ErrorCode {
    fileprivate var isShortage: Bool {
        switch self {
        case .outOfMemory, .noBufferSpace, .wouldBlock, .busy, .interrupted: true
        default: false
        }
    }
}
