// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

@_spi(Backend) public import TorsionCore

/// A filter for tests of what stands above one: what arrives and is written passes as it is.
public enum PassingFilter: String, CaseIterable, Sendable {
    /// The engine passes calls and queues on without looking at bytes.
    case transparent
    /// Each byte goes through the hooks of a `StreamFilter` that overrides only hooks.
    case byHooks

    /// Makes one for a connection.
    public func make() -> StreamFilter {
        switch self {
        case .transparent: makeTransparentFilter()
        case .byHooks: StreamFilter()
        }
    }
}

extension BackendChoice {
    /// A backend whose streams have filters over them that pass everything.
    ///
    /// - Parameters:
    ///   - inner: Any other.
    ///   - count: How many filters each stream has.
    ///   - kind: Which.
    /// - Returns: A choice that can be used like `inner`.
    public static func filtered(
        _ inner: BackendChoice, count: Int = 1, kind: PassingFilter = .byHooks
    ) -> BackendChoice {
        var choice = BackendChoice(
            name: "\(inner.name) under \(count) \(kind.rawValue)",
            unavailableReason: inner.unavailableReason, library: inner.library,
            makeBackend: inner.makeBackend)
        choice.endFilters = inner.endFilters
        choice.filters = inner.filters + Array(repeating: { kind.make() }, count: count)
        return choice
    }

    /// The backend under as many transparent filters as the variable `TEST_FILTERS` says, 0 by
    /// default: so that tests of something else run over filters, too.
    ///
    /// - Parameter choice: Any.
    /// - Returns: A choice of the same name.
    public static func underTest(_ choice: BackendChoice) -> BackendChoice {
        guard let count = Environment.value("TEST_FILTERS").flatMap({ Int($0) }), count > 0 else {
            return choice
        }
        // By the same name, by which tests find it.
        var filtered = choice
        filtered.filters += Array(repeating: { PassingFilter.transparent.make() }, count: count)
        return filtered
    }
}
