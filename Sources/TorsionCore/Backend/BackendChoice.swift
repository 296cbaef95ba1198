// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

/// Names a backend, so that a program can choose one by value.
///
/// Each backend's module adds its own by an extension: `Reactor(backend: .epoll)`. A choice makes a
/// new backend each time, and can be used for many reactors on many threads.
public struct BackendChoice: Sendable {
    /// The name that `TORSION_BACKEND` and the command line use, for example "epoll".
    public let name: String

    /// Why this machine cannot run it, or nil if it can.
    public let unavailableReason: @Sendable () -> String?

    /// Makes a backend that has not started.
    public let makeBackend: @Sendable () -> any ReactorBackend

    /// Names a backend.
    ///
    /// - Parameters:
    ///   - name: Lower case, unique in a program.
    ///   - unavailableReason: A sentence if this machine cannot run it, else nil.
    ///   - makeBackend: Makes one; called once for each reactor, on any thread.
    public init(
        name: String, unavailableReason: @escaping @Sendable () -> String? = { nil },
        makeBackend: @escaping @Sendable () -> any ReactorBackend
    ) {
        self.name = name
        self.unavailableReason = unavailableReason
        self.makeBackend = makeBackend
    }

    /// Finds a backend by its name.
    ///
    /// - Throws: ``UnknownBackend``, which lists those that are linked.
    public static func named(
        _ name: String, among linked: [BackendChoice]
    ) throws(UnknownBackend) -> BackendChoice {
        guard let choice = linked.first(where: { $0.name == name }) else {
            throw UnknownBackend(name: name, linked: linked.map(\.name))
        }
        return choice
    }
}

/// A backend was asked for by a name that this program does not link.
public struct UnknownBackend: Error, Hashable, Sendable, CustomStringConvertible {
    /// The name that was asked for.
    public let name: String
    /// The names that would have been right.
    public let linked: [String]

    /// A sentence with the names that are allowed.
    public var description: String {
        "unknown backend '\(name)': this program links \(linked.joined(separator: ", "))"
    }
}
