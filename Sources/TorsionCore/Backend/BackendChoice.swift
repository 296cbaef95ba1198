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

    /// The library that it stands on, as this process has loaded it; nil without a library.
    public let library: @Sendable () -> LinkedLibrary?

    /// Makes a backend that has not started.
    @_spi(Backend) public let makeBackend: @Sendable () -> any ReactorBackend

    /// Filters over each stream of the backend, the lowest first, which agree at once: so that tests of
    /// everything run over filters, too.
    package var filters: [FilterMaker] = []

    /// Filters over each connection of a port and of a connect, below those of their endpoints, which
    /// agree with each other: so that tests of everything run over TLS, too.
    package var endFilters = EndFilters()

    /// Names a backend.
    ///
    /// - Parameters:
    ///   - name: Lower case, unique in a program.
    ///   - unavailableReason: A sentence if this machine cannot run it, else nil.
    ///   - library: The library that it stands on, if that has versions of its own.
    ///   - makeBackend: Makes one; called once for each reactor, on any thread.
    @_spi(Backend)
    public init(
        name: String, unavailableReason: @escaping @Sendable () -> String? = { nil },
        library: @escaping @Sendable () -> LinkedLibrary? = { nil },
        makeBackend: @escaping @Sendable () -> any ReactorBackend
    ) {
        self.name = name
        self.unavailableReason = unavailableReason
        self.library = library
        self.makeBackend = makeBackend
    }

    /// Finds a backend by its name.
    ///
    /// - Parameters:
    ///   - name: For example "epoll", as ``BackendChoice/name`` gives it; case counts.
    ///   - linked: Those to look among.
    /// - Returns: The first of that name.
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

/// Filters that differ by the end of a connection at which they stand.
package struct EndFilters: Sendable {
    /// Over the connections of ports, the lowest first.
    package var server: [FilterMaker] = []
    /// Over those of connects, the lowest first.
    package var client: [FilterMaker] = []

    /// None.
    package init() {}
}

/// A library that a backend stands on, of the version that this process runs with.
public struct LinkedLibrary: Hashable, Sendable, CustomStringConvertible {
    /// For example "libuv".
    public let name: String
    /// As the library tells it, for example "1.44.2".
    public let version: String
    /// Whether the backend was tested with this version.
    ///
    /// With another one it avoids undocumented behaviour, and may cost more.
    public let isTested: Bool
    /// A remark, for example that it is used in a slower way; nil if it is as usual.
    public let remark: String?

    /// Describes a library.
    ///
    /// - Parameters:
    ///   - name: For example "libuv".
    ///   - version: As the library tells it, for example "1.44.2".
    ///   - isTested: Whether the backend was tested with this version.
    ///   - remark: For example that it is used in a slower way; `nil` if it is as usual.
    public init(name: String, version: String, isTested: Bool, remark: String? = nil) {
        self.name = name
        self.version = version
        self.isTested = isTested
        self.remark = remark
    }

    /// For example "libuv 1.44.2, tested".
    public var description: String {
        let words = [isTested ? "tested" : "not tested", remark].compactMap { $0 }
        return "\(name) \(version), \(words.joined(separator: ", "))"
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
