// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

@_spi(Backend) public import TorsionCore

/// The file behind one descriptor of a child.
///
/// A value, usable on any thread.
public struct ChildDescriptor: Sendable {
    /// Makes the protocol of a stream, on the reactor, once for each child.
    public typealias ProtocolMaker = @Sendable () throws -> any StreamProtocol

    enum Kind: Sendable {
        case null
        case closed
        /// One of this process's; nil for the same number.
        case inherited(Int32?)
        case file(String, appending: Bool)
        case same(Int32)
        case pipe(PipeDirection, ProtocolMaker?)
        case socket(ProtocolMaker?)
        case terminal(TerminalSize, ProtocolMaker?)
    }

    enum PipeDirection: Sendable {
        /// The child reads descriptor 0 and writes to the others.
        case byNumber
        case childReads
    }

    let kind: Kind

    init(_ kind: Kind) { self.kind = kind }

    /// `/dev/null`: EOF at once, and writes are dropped.
    public static let null = ChildDescriptor(.null)

    /// Not open.
    ///
    /// Most programs do not expect that of 0, 1 and 2.
    public static let closed = ChildDescriptor(.closed)

    /// This process's descriptor of the same number when the child is started.
    public static let inherited = ChildDescriptor(.inherited(nil))

    /// A descriptor of this process, which stays yours: the child gets a duplicate.
    ///
    /// - Parameter number: Its number in this process, open when the child is started.
    /// - Returns: What is behind the child's descriptor.
    public static func inherited(_ number: Int32) -> ChildDescriptor {
        ChildDescriptor(.inherited(number))
    }

    /// A file: the child's descriptor 0 reads it, others replace what it held.
    ///
    /// A file that is written is made if it is missing, with the mode 0666 less the umask. Opened
    /// when the child is started, on the reactor's thread.
    ///
    /// - Parameter path: The file; a relative path is one of this process's working directory.
    /// - Returns: What is behind the child's descriptor.
    public static func file(_ path: String) -> ChildDescriptor {
        ChildDescriptor(.file(path, appending: false))
    }

    /// A file that what the child writes is appended to.
    ///
    /// - Parameter path: The file; a relative path is one of this process's working directory.
    /// - Returns: What is behind the child's descriptor.
    public static func appending(to path: String) -> ChildDescriptor {
        ChildDescriptor(.file(path, appending: true))
    }

    /// The same open file as another descriptor of the child: `2>&1` of a shell.
    ///
    /// - Parameter number: That of the child, which is not itself the same as another one.
    /// - Returns: What is behind the child's descriptor.
    public static func same(as number: Int32) -> ChildDescriptor {
        ChildDescriptor(.same(number))
    }

    /// A pipe to this process: the child reads descriptor 0 and writes to the others.
    ///
    /// The child's ``ProcessProtocol`` gets what arrives, or the protocol that it makes for the
    /// descriptor. ``ChildProcess/transport(of:)`` is what you write to, pause and close.
    public static let stream = ChildDescriptor(.pipe(.byNumber, nil))

    /// A pipe to this process with a protocol of its own, which can do whatever it does above a
    /// socket.
    ///
    /// - Parameter makeProtocol: Called on the reactor when the child is started.
    /// - Returns: What is behind the child's descriptor.
    public static func stream(_ makeProtocol: @escaping ProtocolMaker) -> ChildDescriptor {
        ChildDescriptor(.pipe(.byNumber, makeProtocol))
    }

    /// A pipe that the child reads from, whatever its number.
    public static let inputStream = ChildDescriptor(.pipe(.childReads, nil))

    /// A pipe that the child reads from, with a protocol of its own.
    ///
    /// - Parameter makeProtocol: Called on the reactor when the child is started.
    /// - Returns: What is behind the child's descriptor.
    public static func inputStream(_ makeProtocol: @escaping ProtocolMaker) -> ChildDescriptor {
        ChildDescriptor(.pipe(.childReads, makeProtocol))
    }

    /// One of two connected UNIX sockets, for both directions.
    ///
    /// A program that opens `/dev/stdin` or `/dev/stdout` anew cannot do so with a socket.
    public static let socket = ChildDescriptor(.socket(nil))

    /// One of two connected UNIX sockets, with a protocol of its own.
    ///
    /// - Parameter makeProtocol: Called on the reactor when the child is started.
    /// - Returns: What is behind the child's descriptor.
    public static func socket(_ makeProtocol: @escaping ProtocolMaker) -> ChildDescriptor {
        ChildDescriptor(.socket(makeProtocol))
    }

    /// Whether this process has the other end, and what was named for it.
    var makeProtocol: ProtocolMaker? {
        switch kind {
        case .pipe(_, let make), .socket(let make), .terminal(_, let make): make
        case .null, .closed, .inherited, .file, .same: nil
        }
    }
}
