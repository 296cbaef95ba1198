// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

internal import CTorsionSockets
internal import Glibc
@_spi(Backend) internal import TorsionCore

/// A pipe of the kernel's, through which bytes go from one socket to another without coming into
/// the process: `splice(2)`.
///
/// One for all streams of a backend, as the slab is, since it is empty between two moves: what the
/// destination does not take is read out of it, and is queued like any other bytes. So a relayed
/// connection costs no descriptor, and its backpressure, its end and its errors are those of a copy.
final class SplicePipe {
    /// From this size on a move is cheaper than a copy.
    static let worthwhileByteCount = 16 * 1024

    /// A pipe holds so many pieces of whatever size (`pipe(7)`), and a piece may be one packet's
    /// 1,448 bytes: this holds 64 of them.
    private static let capacity = 256 * 1024

    enum Move {
        /// So many bytes arrived at the destination, and those that did not lie in the memory that
        /// was given; if the destination broke they are gone.
        case moved(Int, rest: Int, failure: ErrorCode?)
        /// There was nothing to move.
        case nothing
        /// Nothing will come, unless the source has an urgent byte next.
        case ended
        /// The source is broken.
        case failed(ErrorCode)
        /// Not from this source.
        case unsupported
    }

    private let entrance: Int32
    private let exit: Int32

    /// Not if it failed to give back what it had: never seen.
    private(set) var isUsable = true

    /// Nil if the process has no descriptor left, or not enough memory for its pipes: a small pipe is
    /// slower than a copy.
    init?() {
        var ends: [Int32] = [-1, -1]
        guard torsion_pipe(&ends, Self.capacity) == 0 else { return nil }
        (exit, entrance) = (ends[0], ends[1])
    }

    deinit {
        close(entrance)
        close(exit)
    }

    /// Moves what has arrived, at most `limit` bytes, for which `memory` has room.
    func move(
        upTo limit: Int, from source: Int32, to destination: Int32,
        rest memory: UnsafeMutableRawPointer
    ) -> Move {
        let arrived = torsion_splice(source, entrance, limit)
        guard arrived > 0 else { return arrived == 0 ? .ended : refusal(errno) }
        let left = torsion_splice(exit, destination, arrived)
        if left == arrived { return .moved(left, rest: 0, failure: nil) }
        let code = left < 0 ? reason(errno) : breakage(of: destination)
        let moved = max(left, 0)
        guard takeOut(arrived - moved, into: memory) else {
            isUsable = false
            return .failed(.inputOutput)
        }
        return .moved(moved, rest: code == nil ? arrived - moved : 0, failure: code)
    }

    /// Why nothing came out of the source.
    private func refusal(_ code: Int32) -> Move {
        switch code {
        case EAGAIN, EINTR: .nothing
        case EINVAL, ENOMEM, ENOSYS, EPERM: .unsupported
        default: .failed(ErrorCode(errno: code))
        }
    }

    /// What broke the destination, nil if it has no room or takes its bytes in another way only.
    private func reason(_ code: Int32) -> ErrorCode? {
        switch code {
        case EAGAIN, EINTR, EINVAL, ENOMEM, ENOSYS, EPERM: nil
        default: ErrorCode(errno: code)
        }
    }

    /// Empties the pipe.
    private func takeOut(_ byteCount: Int, into memory: UnsafeMutableRawPointer) -> Bool {
        var taken = 0
        while taken < byteCount {
            let count = read(exit, memory + taken, byteCount - taken)
            // It has so many, and a pipe does not fail.
            guard count > 0 else { return false }
            taken += count
        }
        return true
    }
}
