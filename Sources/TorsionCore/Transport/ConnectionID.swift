// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

/// Names a connection for as long as the process lives: for logs, and as a key.
public struct ConnectionID: Hashable, Sendable, CustomStringConvertible {
    /// The reactor's number in the process, counted from 1.
    public let reactorNumber: UInt32

    /// The connection's number on that reactor, counted from 1.
    public let sequence: UInt64

    /// The two numbers, as in "2.1017".
    public var description: String { "\(reactorNumber).\(sequence)" }
}
