// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

@_spi(Backend) public import TorsionCore
@_spi(Backend) internal import TorsionSockets

extension BackendChoice {
    /// Sockets over `epoll(7)`.
    public static let epoll = BackendChoice(name: "epoll") { SocketBackend(poller: EpollPoller()) }
}
