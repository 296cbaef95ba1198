// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: the Torsion authors

public import TorsionCore

// Policies by name. Each is `wrapped(by:)` with the layer, or the factory, that its page describes;
// what is named first is nearest to the network. An endpoint without them has no layer at all.

extension StreamServerEndpoint {
    /// The same with limits for how many connections a port may have: see ``ConnectionLimiter``.
    public func limited(to limits: ConnectionLimits) -> WrappedServerEndpoint {
        wrapped(byFactory: { ConnectionLimiter($0, limits) })
    }

    /// The same with limits for how long a connection may wait: see ``TimeLimited``.
    public func timeouts(_ timeouts: Timeouts) -> WrappedServerEndpoint {
        wrapped { TimeLimited(above: $0, timeouts) }
    }

    /// The same with a log of the traffic: see ``Logged``.
    public func logged(
        _ log: @escaping @Sendable (_ text: String) -> Void
    ) -> WrappedServerEndpoint {
        wrapped { Logged(above: $0, log) }
    }
}

extension StreamClientEndpoint {
    /// The same with limits for how long a connection may wait: see ``TimeLimited``.
    public func timeouts(_ timeouts: Timeouts) -> WrappedClientEndpoint {
        wrapped { TimeLimited(above: $0, timeouts) }
    }

    /// The same with a log of the traffic: see ``Logged``.
    public func logged(
        _ log: @escaping @Sendable (_ text: String) -> Void
    ) -> WrappedClientEndpoint {
        wrapped { Logged(above: $0, log) }
    }
}
