// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

internal import CTorsionSockets
internal import Glibc

// Linux: what the other files of this module ask for by these names and no system call but Linux's
// takes in this form. Elsewhere `fcntl(2)` sets the two flags after `socket(2)`, `SO_NOSIGPIPE`
// takes the place of `MSG_NOSIGNAL`, `TCP_KEEPALIVE` that of `TCP_KEEPIDLE`, and what comes closest
// to `TCP_USER_TIMEOUT` that of it; a socket there gets the datagrams of the groups that it joined
// itself without being told to.

/// A socket of this kind that is non-blocking and closed on exec: `socket(2)`.
func socketKind(_ kind: __socket_type) -> Int32 {
    Int32(kind.rawValue | SOCK_NONBLOCK.rawValue | SOCK_CLOEXEC.rawValue)
}

/// A send to a peer that has gone reports EPIPE and raises no signal: `send(2)`.
///
/// Computed: a stored one would be asked at each send whether it was made.
@inline(__always) var sendFlags: Int32 { Int32(MSG_NOSIGNAL) }

/// The option for the silence before the first probe: `tcp(7)`.
var keepAliveIdleOption: Int32 { TCP_KEEPIDLE }

/// The option for how many milliseconds what was sent may wait for its acknowledgement: `tcp(7)`.
var userTimeoutOption: Int32 { TCP_USER_TIMEOUT }

/// The option that is set to 0, so that a socket does not get what others on the machine joined:
/// `ip(7)`.
func multicastAllOption(isIPv6: Bool) -> Int32 { isIPv6 ? IPV6_MULTICAST_ALL : IP_MULTICAST_ALL }
