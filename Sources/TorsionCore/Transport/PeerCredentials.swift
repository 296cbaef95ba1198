// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

/// The process at the other end of a UNIX socket, as the kernel noted when it connected or
/// listened.
///
/// - SeeAlso: `unix(7)`, `SO_PEERCRED`.
public struct PeerCredentials: Hashable, Sendable {
    /// The process, which may have ended since, and its number be another's.
    public let processID: Int32
    /// Its effective user.
    public let userID: UInt32
    /// Its effective group.
    public let groupID: UInt32

    /// Some credentials.
    ///
    /// - Parameters:
    ///   - processID: As the kernel noted it when the peer connected.
    ///   - userID: The peer's effective user.
    ///   - groupID: The peer's effective group.
    public init(processID: Int32, userID: UInt32, groupID: UInt32) {
        self.processID = processID
        self.userID = userID
        self.groupID = groupID
    }
}

extension StreamTransport {
    /// The process at the other end; nil unless this is a connection over a UNIX socket without
    /// filters, and when its socket is closed: ask in `connectionMade`.
    ///
    /// Called on the reactor.
    public var peerCredentials: PeerCredentials? {
        reactor.checkThread()
        guard let connection = self as? StreamConnection, connection.passesDescriptors else {
            return nil
        }
        return connection.stream.peerCredentials
    }
}
