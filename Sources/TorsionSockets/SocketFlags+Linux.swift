// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

internal import Glibc

// Linux: what the other files of this module ask for by these names and no system call but Linux's
// takes in this form. Elsewhere `fcntl(2)` sets the two flags after `socket(2)`, `SO_NOSIGPIPE`
// takes the place of `MSG_NOSIGNAL`, and `TCP_KEEPALIVE` that of `TCP_KEEPIDLE`.

/// A stream socket that is non-blocking and closed on exec: `socket(2)`.
var streamSocketKind: Int32 {
    Int32(SOCK_STREAM.rawValue | SOCK_NONBLOCK.rawValue | SOCK_CLOEXEC.rawValue)
}

/// A send to a peer that has gone reports EPIPE and raises no signal: `send(2)`.
///
/// Computed: a stored one would be asked at each send whether it was made.
@inline(__always) var sendFlags: Int32 { Int32(MSG_NOSIGNAL) }

/// The option for the silence before the first probe: `tcp(7)`.
var keepAliveIdleOption: Int32 { TCP_KEEPIDLE }
