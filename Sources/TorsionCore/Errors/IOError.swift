// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

/// A call to the operating system that failed: what was tried, on what, and why not.
///
/// Thrown by calls that fail at once, carried by ``ConnectionLoss/failed(_:)`` otherwise. It is a
/// plain value, usable on any thread, and prints as one line for a log:
///
///     cannot connect to 127.0.0.1:80: connection refused (ECONNREFUSED)
public struct IOError: Error, Hashable, Sendable {
    /// The operation, in the words of this library.
    public var operation: Operation

    /// The function that failed, such as `bind` or `uv_poll_start`; empty if it was not a system
    /// call.
    public var function: String

    /// Why it failed.
    public var code: ErrorCode

    /// Its object: an address, a host's name, a path; `nil` if it is not known.
    public var subject: String?

    /// Makes an error that says `function` failed with `code`.
    ///
    /// - Parameters:
    ///   - operation: The operation that failed.
    ///   - function: The system's function that failed, for example "connect"; empty if it was not
    ///     a system call.
    ///   - code: Why.
    ///   - subject: Its object, for example a path; `nil` if that is not known.
    public init(
        _ operation: Operation, function: String, code: ErrorCode, subject: String? = nil
    ) {
        self.operation = operation
        self.function = function
        self.code = code
        self.subject = subject
    }

    /// Makes an error about an address.
    ///
    /// - Parameters:
    ///   - operation: The operation that failed.
    ///   - function: The system's function that failed, for example "connect".
    ///   - code: Why.
    ///   - subject: The address that the error names.
    public init(
        _ operation: Operation, function: String, code: ErrorCode, subject: SocketAddress
    ) {
        self.init(operation, function: function, code: code, subject: subject.description)
    }

    /// An operation that can fail, named by the caller's wish and not by the system call.
    @nonexhaustive
    public enum Operation: Hashable, Sendable {
        /// Opening a port: `socket`, `bind` and `listen`.
        case listen
        /// Giving a socket its local address.
        case bind
        /// Making a connection.
        case connect
        /// Taking a connection from a port.
        case accept
        /// Agreeing on a filter's terms with the peer.
        case handshake
        /// Receiving.
        case read
        /// Sending.
        case write
        /// Ending one direction of a connection.
        case shutdown
        /// Setting or reading an option.
        case configure
        /// Waiting for a descriptor, or taking it out of the wait.
        case watch
        /// Waiting for what happens next.
        case wait
        /// Looking up a host's name.
        case resolve
        /// Opening a file, a device or a socket.
        case open
        /// Closing a descriptor.
        case close
        /// Removing a file.
        case remove
        /// Starting a process or a thread.
        case spawn
        /// Sending or catching a signal.
        case signal
        /// Setting up a backend.
        case start

        /// The verb and, where a subject follows, its preposition.
        var phrase: (verb: String, preposition: String) {
            switch self {
            case .listen: ("listen", " on")
            case .bind: ("bind", " to")
            case .connect: ("connect", " to")
            case .accept: ("accept", " on")
            case .handshake: ("shake hands", " with")
            case .read: ("read", " from")
            case .write: ("write", " to")
            case .shutdown: ("shut down", "")
            case .configure: ("configure", "")
            case .watch: ("watch", "")
            case .wait: ("wait", " for")
            case .resolve: ("resolve", "")
            case .open: ("open", "")
            case .close: ("close", "")
            case .remove: ("remove", "")
            case .spawn: ("spawn", "")
            case .signal: ("signal", "")
            case .start: ("start", "")
            }
        }
    }
}

extension IOError: CustomStringConvertible {
    /// One line for a log: `cannot read from 127.0.0.1:9: connection reset by peer (ECONNRESET)`.
    public var description: String {
        advice.map { "\(sentence); \($0)" } ?? sentence
    }

    /// The operation, its object and the reason, without ``advice``: one line that programs may
    /// compare.
    public var sentence: String {
        let (verb, preposition) = operation.phrase
        let object = subject.map { "\(preposition) \($0)" } ?? ""
        // A number without a word would otherwise be printed twice.
        if case .other = code { return "cannot \(verb)\(object): \(code)" }
        return "cannot \(verb)\(object): \(code) (\(code.name))"
    }

    /// A remedy, where one sentence can tell; nil otherwise.
    public var advice: String? {
        if let subject, subject.hasPrefix("unix:") { return nil }
        return switch (operation, code) {
        case (.listen, .addressInUse): "take another port, or port 0 for one that is free"
        case (.listen, .accessDenied):
            "take a port from 1024 on, or run with the right to bind it"
        case (.start, .outOfMemory) where subject == "io_uring":
            "it may count against the limit of locked memory, `ulimit -l`"
        default: nil
        }
    }
}

extension IOError: CustomDebugStringConvertible {
    /// As ``description``, with the function that failed.
    public var debugDescription: String {
        function.isEmpty ? description : "\(description), \(function)"
    }
}
