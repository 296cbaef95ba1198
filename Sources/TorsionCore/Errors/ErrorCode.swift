// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

/// The error code of a system call, equal on every backend.
///
/// A code has the meaning, not the number, of an `errno(3)`: numbers differ between platforms, and
/// libuv negates them. Each backend translates its own numbers at its edge. A code is a plain
/// value, usable on any thread.
///
///     do {
///         try endpoint.listen(on: reactor) { Echo() }
///     } catch let error as IOError where error.code == .addressInUse {
///         print("is the server running already?")
///     }
///
/// - SeeAlso: `errno(3)`, `gai_strerror(3)`.
@nonexhaustive
public enum ErrorCode: Hashable, Sendable {
    /// Another socket is bound to the address.
    case addressInUse
    /// The address is not one of this machine's interfaces, or all ports are in use.
    case addressNotAvailable
    /// This machine cannot use addresses of that family, such as IPv6.
    case addressFamilyNotSupported
    /// The rights of this process do not allow it, for example a port below 1024.
    case accessDenied
    /// The kernel or a packet filter forbids it.
    case notPermitted
    /// Nothing listens at the address.
    case connectionRefused
    /// The peer broke the connection off.
    case connectionReset
    /// The connection was broken off before or below us.
    case connectionAborted
    /// The receiving side is closed.
    case brokenPipe
    /// The peer did not answer within the kernel's bound.
    case timedOut
    /// The socket is connected.
    case alreadyConnected
    /// The socket is not connected.
    case notConnected
    /// An earlier operation of that kind has not ended.
    case alreadyInProgress
    /// The operation goes on in the background.
    case inProgress
    /// The peer's transport protocol answered nonsense.
    case protocolError
    /// The host is unreachable: a route is missing.
    case hostUnreachable
    /// The host does not answer on its link.
    case hostDown
    /// The network is unreachable: a route is missing.
    case networkUnreachable
    /// The interface is down.
    case networkDown
    /// Keep-alive found the connection dead.
    case networkReset
    /// A datagram is larger than the path allows.
    case messageTooLong
    /// This process is out of descriptors.
    case tooManyOpenFiles
    /// The machine is out of descriptors.
    case tooManyOpenFilesInSystem
    /// The kernel is out of memory.
    case outOfMemory
    /// The kernel's buffers are full.
    case noBufferSpace
    /// A disk, or a limit on watches, is full.
    case noSpace
    /// Too many descriptors are under way in messages.
    case tooManyReferences
    /// The path does not exist.
    case noSuchFile
    /// Something has that path or registration already.
    case fileExists
    /// A part of the path is not a directory.
    case notDirectory
    /// The path leads to a directory.
    case isDirectory
    /// The path does not fit.
    case nameTooLong
    /// The path runs in a circle.
    case symbolicLinkLoop
    /// The file system cannot be changed.
    case readOnlyFileSystem
    /// The device or interface does not exist.
    case noSuchDevice
    /// The process does not exist.
    case noSuchProcess
    /// The file is not a program, or one for another machine.
    case notExecutable
    /// The arguments and the environment of a program are more than the kernel takes.
    case argumentListTooLong
    /// A device failed.
    case inputOutput
    /// `ENOTTY`: it is not a terminal, or lacks the property.
    case notTerminal
    /// Someone else uses it.
    case busy
    /// A signal came first.
    case interrupted
    /// It cannot be done now without waiting.
    case wouldBlock
    /// The operation was called off.
    case canceled
    /// The kernel does not accept the arguments.
    case invalidArgument
    /// The descriptor is not open, or not open for that.
    case badDescriptor
    /// The descriptor is not a socket.
    case notSocket
    /// This kind of socket or file cannot do it.
    case notSupported
    /// This kernel does not know the call.
    case notImplemented
    /// This kernel does not know the protocol.
    case protocolNotSupported
    /// The socket does not know the option.
    case optionNotSupported
    /// The peer's socket is of another kind.
    case wrongProtocolType
    /// A datagram has nowhere to go.
    case destinationRequired
    /// The host's name does not exist.
    case hostNotFound
    /// The host exists, without an address of the kind asked for.
    case noAddress
    /// The name servers did not answer; later may be better.
    case resolverUnavailable
    /// The name server refused or failed.
    case resolverFailed
    /// The input ended before what was expected.
    case endOfFile
    /// A number that this list lacks, as the platform gave it.
    case other(Int32)

    /// The symbol in the manual pages, such as `EADDRINUSE`; `error 123` for ``other(_:)``.
    public var name: String { nameAndText.name }
}

extension ErrorCode: CustomStringConvertible {
    /// A few words, lower case, such as `address already in use`.
    public var description: String { nameAndText.text }
}

extension ErrorCode {
    /// One table for both, so that a code cannot have a name and lack a text.
    private var nameAndText: (name: String, text: String) {
        switch self {
        case .addressInUse: ("EADDRINUSE", "address already in use")
        case .addressNotAvailable: ("EADDRNOTAVAIL", "cannot assign requested address")
        case .addressFamilyNotSupported:
            ("EAFNOSUPPORT", "address family not supported by protocol")
        case .accessDenied: ("EACCES", "permission denied")
        case .notPermitted: ("EPERM", "operation not permitted")
        case .connectionRefused: ("ECONNREFUSED", "connection refused")
        case .connectionReset: ("ECONNRESET", "connection reset by peer")
        case .connectionAborted: ("ECONNABORTED", "software caused connection abort")
        case .brokenPipe: ("EPIPE", "broken pipe")
        case .timedOut: ("ETIMEDOUT", "connection timed out")
        case .alreadyConnected: ("EISCONN", "transport endpoint is already connected")
        case .notConnected: ("ENOTCONN", "transport endpoint is not connected")
        case .alreadyInProgress: ("EALREADY", "operation already in progress")
        case .inProgress: ("EINPROGRESS", "operation now in progress")
        case .protocolError: ("EPROTO", "protocol error")
        case .hostUnreachable: ("EHOSTUNREACH", "no route to host")
        case .hostDown: ("EHOSTDOWN", "host is down")
        case .networkUnreachable: ("ENETUNREACH", "network is unreachable")
        case .networkDown: ("ENETDOWN", "network is down")
        case .networkReset: ("ENETRESET", "network dropped connection on reset")
        case .messageTooLong: ("EMSGSIZE", "message too long")
        case .tooManyOpenFiles: ("EMFILE", "too many open files")
        case .tooManyOpenFilesInSystem: ("ENFILE", "too many open files in system")
        case .outOfMemory: ("ENOMEM", "cannot allocate memory")
        case .noBufferSpace: ("ENOBUFS", "no buffer space available")
        case .noSpace: ("ENOSPC", "no space left on device")
        case .tooManyReferences: ("ETOOMANYREFS", "too many references: cannot splice")
        case .noSuchFile: ("ENOENT", "no such file or directory")
        case .fileExists: ("EEXIST", "file exists")
        case .notDirectory: ("ENOTDIR", "not a directory")
        case .isDirectory: ("EISDIR", "is a directory")
        case .nameTooLong: ("ENAMETOOLONG", "file name too long")
        case .symbolicLinkLoop: ("ELOOP", "too many levels of symbolic links")
        case .readOnlyFileSystem: ("EROFS", "read-only file system")
        case .noSuchDevice: ("ENODEV", "no such device")
        case .noSuchProcess: ("ESRCH", "no such process")
        case .notExecutable: ("ENOEXEC", "exec format error")
        case .argumentListTooLong: ("E2BIG", "argument list too long")
        case .inputOutput: ("EIO", "input/output error")
        case .notTerminal: ("ENOTTY", "inappropriate ioctl for device")
        case .busy: ("EBUSY", "device or resource busy")
        case .interrupted: ("EINTR", "interrupted system call")
        case .wouldBlock: ("EAGAIN", "resource temporarily unavailable")
        case .canceled: ("ECANCELED", "operation canceled")
        case .invalidArgument: ("EINVAL", "invalid argument")
        case .badDescriptor: ("EBADF", "bad file descriptor")
        case .notSocket: ("ENOTSOCK", "socket operation on non-socket")
        case .notSupported: ("EOPNOTSUPP", "operation not supported")
        case .notImplemented: ("ENOSYS", "function not implemented")
        case .protocolNotSupported: ("EPROTONOSUPPORT", "protocol not supported")
        case .optionNotSupported: ("ENOPROTOOPT", "protocol not available")
        case .wrongProtocolType: ("EPROTOTYPE", "protocol wrong type for socket")
        case .destinationRequired: ("EDESTADDRREQ", "destination address required")
        case .hostNotFound: ("EAI_NONAME", "name or service not known")
        case .noAddress: ("EAI_NODATA", "no address associated with hostname")
        case .resolverUnavailable: ("EAI_AGAIN", "temporary failure in name resolution")
        case .resolverFailed: ("EAI_FAIL", "non-recoverable failure in name resolution")
        case .endOfFile: ("EOF", "end of file")
        case .other(let number): ("error \(number)", "error \(number)")
        }
    }
}
