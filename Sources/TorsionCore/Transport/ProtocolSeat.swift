// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

/// What a connection owes to the protocol above it: a switch, bytes that were given back, the peer's
/// end, the news of a close.
///
/// All of it is carried out when the present event ends, in this order. It stands here alone, for
/// every connection, whatever its stream is.
struct ProtocolSeat {
    /// Takes over when the present event ends.
    var pendingSwitch: (any StreamProtocol)?
    /// What a protocol gave back, or left to its successor; nil if there is nothing.
    var unread: KeptBytes?
    /// The peer's end was told to the former protocol, and is to be told to the present one.
    var owesReadClosed = false
    /// This side has begun to close, and its protocol may want to know.
    var reportsClosing = false

    /// The connection is lost: only that is told.
    mutating func clear() {
        pendingSwitch = nil
        unread = nil
    }

    /// Asserts what must hold between events.
    func checkInvariants(isDelivering: Bool) {
        require(!(unread?.isEmpty ?? false), "ProtocolSeat: keeps nothing for later")
        if unread == nil, !owesReadClosed { return }
        require(!isDelivering, "ProtocolSeat: what is owed to its protocol was not told")
    }
}
