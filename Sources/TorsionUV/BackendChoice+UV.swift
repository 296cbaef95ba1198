// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

public import TorsionCore
internal import TorsionSockets

extension BackendChoice {
    /// Sockets over libuv's loop.
    ///
    /// The default.
    public static let libuv = BackendChoice(name: "libuv") { SocketBackend(poller: UVPoller()) }
}
