// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

@_spi(Backend) public import TorsionCore

/// How a process has ended.
///
/// - SeeAlso: Twisted `ProcessDone`, `ProcessTerminated`; `waitid(2)`.
@nonexhaustive
public enum ProcessStatus: Hashable, Sendable {
    /// It called `exit(3)` with this code, from 0 to 255.
    case exited(Int32)
    /// A signal ended it.
    case signalled(Signal)
    /// Other code in this process has waited for it, so that its status is lost.
    case unknown

    /// Whether it ended with code 0.
    public var isSuccess: Bool { self == .exited(0) }
}

extension ProcessStatus: CustomStringConvertible {
    /// In the words of a log: "exited with 1", "ended by SIGKILL".
    public var description: String {
        switch self {
        case .exited(let code): "exited with \(code)"
        case .signalled(let signal): "ended by \(signal)"
        case .unknown: "ended, and somebody else has its status"
        }
    }
}

/// A child ended otherwise than with exit code 0, or one that was to run for good has ended at all.
public struct ProcessFailure: Error, Hashable, Sendable, CustomStringConvertible {
    /// The program, as the command named it.
    public let program: String
    /// How it ended.
    public let status: ProcessStatus

    /// Names a child and how it ended.
    ///
    /// - Parameters:
    ///   - program: As the command named it.
    ///   - status: How it ended.
    public init(program: String, status: ProcessStatus) {
        self.program = program
        self.status = status
    }

    /// One line for a log: "git exited with 128".
    public var description: String { "\(program) \(status)" }
}
