// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

/// State of a module that each reactor has once: a cache, a pool, buffers that connections share.
///
///     final class Sessions: ReactorCompanion {
///         var table: [String: Bytes] = [:]
///         init(on reactor: Reactor) {}
///     }
///     transport.reactor.companion(of: Sessions.self).table[name] = session
///
/// It belongs to its reactor's thread. It is made when it is first asked for, and released when the
/// reactor's run ends, behind all connections.
public protocol ReactorCompanion: AnyObject {
    /// Makes the state for one reactor.
    ///
    /// - Parameter reactor: The only one that it is used on; it must not be retained.
    init(on reactor: Reactor)
}

extension Reactor {
    /// The state of this type that belongs to this reactor.
    ///
    /// - Parameter type: Names the state.
    /// - Returns: The same object each time.
    /// - Complexity: O(1).
    public func companion<Companion: ReactorCompanion>(of type: Companion.Type) -> Companion {
        checkThread()
        let key = ObjectIdentifier(type)
        if let found = companions[key] as? Companion { return found }
        let made = Companion(on: self)
        companions[key] = made
        return made
    }
}
