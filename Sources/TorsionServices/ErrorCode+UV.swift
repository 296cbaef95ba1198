// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

internal import CTorsionUV
internal import TorsionCore

extension ErrorCode {
    /// What a negative code of libuv means.
    ///
    /// libuv's numbers differ between systems, its names do not.
    init(libuv code: Int32) {
        switch String(cString: torsion_uv_error_name(code)) {
        case "EAI_NONAME": self = .hostNotFound
        case "EAI_NODATA", "EAI_ADDRFAMILY", "EAI_FAMILY": self = .noAddress
        case "EAI_AGAIN": self = .resolverUnavailable
        case "EAI_FAIL": self = .resolverFailed
        case "EAI_MEMORY", "ENOMEM": self = .outOfMemory
        case "EAI_CANCELED", "ECANCELED": self = .canceled
        case "EINVAL": self = .invalidArgument
        case "EPERM": self = .notPermitted
        case "EACCES": self = .accessDenied
        case "EMFILE": self = .tooManyOpenFiles
        case "ENFILE": self = .tooManyOpenFilesInSystem
        case "EAGAIN": self = .wouldBlock
        case "ETIMEDOUT": self = .timedOut
        case "ENOSPC", "EDQUOT": self = .noSpace
        case "ENOENT": self = .noSuchFile
        case "EEXIST": self = .fileExists
        case "ENOTDIR": self = .notDirectory
        case "EISDIR": self = .isDirectory
        case "ENAMETOOLONG": self = .nameTooLong
        case "ELOOP": self = .symbolicLinkLoop
        case "EROFS": self = .readOnlyFileSystem
        case "ENODEV", "ENXIO": self = .noSuchDevice
        case "EIO": self = .inputOutput
        case "EBUSY", "ETXTBSY": self = .busy
        case "EBADF": self = .badDescriptor
        default: self = .other(-code)
        }
    }
}
