// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

internal import Glibc
@_spi(Backend) public import TorsionCore

extension ErrorCode {
    /// The portable code for a value of `errno`.
    ///
    /// - Parameter number: As in `errno(3)`, positive.
    public init(errno number: Int32) {
        self =
            switch number {
            case EADDRINUSE: .addressInUse
            case EADDRNOTAVAIL: .addressNotAvailable
            case EAFNOSUPPORT: .addressFamilyNotSupported
            case EACCES: .accessDenied
            case EPERM: .notPermitted
            case ECONNREFUSED: .connectionRefused
            case ECONNRESET: .connectionReset
            case ECONNABORTED: .connectionAborted
            case EPIPE: .brokenPipe
            case ETIMEDOUT: .timedOut
            case EISCONN: .alreadyConnected
            case ENOTCONN: .notConnected
            case EALREADY: .alreadyInProgress
            case EINPROGRESS: .inProgress
            case EPROTO: .protocolError
            case EHOSTUNREACH: .hostUnreachable
            case EHOSTDOWN: .hostDown
            case ENETUNREACH: .networkUnreachable
            case ENETDOWN: .networkDown
            case ENETRESET: .networkReset
            case EMSGSIZE: .messageTooLong
            default: ErrorCode(rarerErrno: number)
            }
    }

    private init(rarerErrno number: Int32) {
        self =
            switch number {
            case EMFILE: .tooManyOpenFiles
            case ENFILE: .tooManyOpenFilesInSystem
            case ENOMEM: .outOfMemory
            case ENOBUFS: .noBufferSpace
            case ENOSPC: .noSpace
            case ETOOMANYREFS: .tooManyReferences
            case ENOENT: .noSuchFile
            case EEXIST: .fileExists
            case ENOTDIR: .notDirectory
            case EISDIR: .isDirectory
            case ENAMETOOLONG: .nameTooLong
            case ELOOP: .symbolicLinkLoop
            case EROFS: .readOnlyFileSystem
            case ENODEV: .noSuchDevice
            case ESRCH: .noSuchProcess
            case ENOEXEC: .notExecutable
            case E2BIG: .argumentListTooLong
            case EIO: .inputOutput
            case ENOTTY: .notTerminal
            case EBUSY: .busy
            case EINTR: .interrupted
            case EAGAIN: .wouldBlock
            case ECANCELED: .canceled
            case EINVAL: .invalidArgument
            case EBADF: .badDescriptor
            case ENOTSOCK: .notSocket
            case EOPNOTSUPP: .notSupported
            case ENOSYS: .notImplemented
            case EPROTONOSUPPORT: .protocolNotSupported
            case ENOPROTOOPT: .optionNotSupported
            case EPROTOTYPE: .wrongProtocolType
            case EDESTADDRREQ: .destinationRequired
            default: .other(number)
            }
    }
}
