// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

internal import Glibc

/// What a descriptor leads to, to ask later whether it was closed.
///
/// The number alone does not tell: other tests run at the same time, and the kernel gives the number to the
/// next file that one of them opens. Pipes, sockets, terminals and files have an inode of their own.
public struct OpenFile {
    private let descriptor: Int32
    private let identity: Identity?

    private struct Identity: Equatable {
        let device: UInt
        let inode: UInt

        init?(_ descriptor: Int32) {
            var status = stat()
            guard fstat(descriptor, &status) == 0 else { return nil }
            (device, inode) = (UInt(status.st_dev), UInt(status.st_ino))
        }
    }

    /// Notes what is open now.
    public init(_ descriptor: Int32) {
        self.descriptor = descriptor
        identity = Identity(descriptor)
        precondition(identity != nil, "descriptor \(descriptor) is not open")
    }

    /// Whether the descriptor still leads there.
    public var isOpen: Bool { Identity(descriptor) == identity }
}
