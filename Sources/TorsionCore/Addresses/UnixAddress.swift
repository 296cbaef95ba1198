// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

/// Where a UNIX socket is: a file, a name in Linux's abstract space, or nowhere.
///
/// A plain value, usable on any thread.
///
/// - SeeAlso: `unix(7)`.
@nonexhaustive
public enum UnixAddress: Hashable, Sendable {
    /// A file's path, absolute or relative to the working directory.
    case path(String)

    /// A name without a file, which vanishes with its socket. Any bytes, zero too. Linux only.
    case abstract([UInt8])

    /// A socket that was never bound, as most clients are, and so has no name.
    case unnamed

    /// The most bytes that a path or an abstract name may have: `sun_path` has 108, one of which
    /// ends the path or begins the name.
    public static let maximumByteCount = 107
}

extension UnixAddress: CustomStringConvertible {
    /// The path; `@` and the name, what is not printable ASCII as in ``Bytes/description``; or `(unnamed)`.
    public var description: String {
        switch self {
        case .path(let path): path
        case .abstract(let name): "@" + name.map(printable).joined()
        case .unnamed: "(unnamed)"
        }
    }
}
