// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

internal import CTorsionSockets
@_spi(Backend) internal import TorsionSockets

// The low bits of PollEvents and of epoll's are the same in another order; a switch by bit keeps
// both readable, and the compiler makes it a few shifts.
extension PollEvents {
    /// What `epoll_ctl(2)` is asked for.
    ///
    /// Errors and hang-ups need not be.
    var epollBits: UInt32 {
        var bits: UInt32 = 0
        if contains(.readable) { bits |= EPOLLIN.rawValue }
        if contains(.writable) { bits |= EPOLLOUT.rawValue }
        if contains(.disconnected) { bits |= EPOLLRDHUP.rawValue }
        return bits
    }

    /// What `epoll_wait(2)` found.
    init(epollBits bits: UInt32) {
        // Nearly every event is this one.
        if bits == EPOLLIN.rawValue {
            self = .readable
            return
        }
        self = []
        if bits & EPOLLIN.rawValue != 0 { insert(.readable) }
        if bits & EPOLLOUT.rawValue != 0 { insert(.writable) }
        if bits & EPOLLRDHUP.rawValue != 0 { insert(.disconnected) }
        if bits & EPOLLERR.rawValue != 0 { insert(.error) }
        if bits & EPOLLHUP.rawValue != 0 { insert(.hangUp) }
    }
}
